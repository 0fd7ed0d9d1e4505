"""Those who answer the questions of `judge` and `topic`: models on the proxy's own model servers.

They send what the pure code has written, and never judge. What they ask is no request of a client: no policy reads it,
it has bounds of its own, and it is counted apart. Begin with `models`, which finds a model and asks it in its turn.
"""
