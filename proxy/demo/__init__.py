"""What a newcomer meets: a small model server with a few scripted answers (script, backend), and the stage on which
a raw answer and a guarded one run side by side (stage).
"""
