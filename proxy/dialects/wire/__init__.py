"""The formats under every dialect: server-sent events, lines of JSON, JSON bodies, and events that repeat a form.

It refuses what is no such format, is too long or too deep, or has a key twice.
Begin with `sse`, then `skeleton`.
"""
