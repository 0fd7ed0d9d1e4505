"""How much clients may use: streams at once, requests and tokens a minute, a queue, and a wait after blocked requests.

An exchange enters before its body is read, and leaves when it has ended; it never waits for a count on a token's way.
Begin with `admission`.
"""
