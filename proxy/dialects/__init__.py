"""What each wire format looks like: requests in, answers through. A dialect knows no check and does no I/O.

It refuses what it does not understand: unknown values in a request, an answer that cannot be judged.
Begin with `base`: what every dialect offers, and with `request` and `answer`, which they share. Then read one vendor:
`ollama` has the plainest stream.
"""
