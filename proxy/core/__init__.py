"""What a check may report (check), how text is held until it is decided (gate), one exchange (guard), prompts (prompt).

It refuses anything but text in and text out: no clock, no files, no sockets. Begin with check.py, then gate.py.
"""
