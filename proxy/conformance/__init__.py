"""A test that any guard can be put to: it plays the model server and the client, and judges what the client gets.

It knows HTTP and the dialects' public documents, and imports nothing else of this package. It never judges a guard by
how it works, only by what a client and the model server see. It refuses a target that does not ask its model server.
Begin with `cases`, what is asked; `runner` asks it, `judge` decides.
"""
