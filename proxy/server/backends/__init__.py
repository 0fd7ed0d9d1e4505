"""The model servers: what each is, which models it has, whether it answers, and which of them gets a request.

It never sends one backend's key, or a request that may have been processed, to another.
Begin with `backend`, which is one of them; `choice` says which are asked for a model, and in which order.
"""
