"""HTTP with the clients, over ASGI: a request's head and body, its response, and the listener on uvicorn.

It refuses what is no well-formed HTTP/1.1, comes too slowly or is too large, and web pages that may not call.
Begin with `request`, which works under every ASGI server; then `connection` and `cycle`, which only our own has.
"""
