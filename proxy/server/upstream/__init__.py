"""HTTP/1.1 to the model server: a client with a pool of connections, and what its responses must look like.

It refuses to send what could be two requests, and responses that are not HTTP, encoded, or of another kind than asked.
Begin with `client`, the interface; `transport` and `connection` are behind it, `response` judges the head.
"""
