"""What a newcomer meets: a small model server with scripted answers, and a display of two texts side by side.

It refuses what its one dialect, OpenAI's chat, does not have. Nothing of it judges anything: that is the proxy's work.
Begin with `script` (the answers), then `backend` (the model server) and `display`.
"""
