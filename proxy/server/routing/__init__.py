"""Which paths there are, and what becomes of a request to each.

It refuses every path, method, Host and Origin that it does not know, in the shape that the path's clients read.
Begin with `routes`, the table; `router` is the ASGI application over it.
"""
