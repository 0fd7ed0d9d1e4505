"""The heart: what a check may say (check), how text waits for its verdict (gate), and one exchange as a whole (guard).

Everything here is pure: text in, text out, no clock, no files, no sockets.
"""
