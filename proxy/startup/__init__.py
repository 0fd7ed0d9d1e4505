"""What comes before the first request: the settings as the server takes them, the policies, the model server.

It refuses to start without what was asked for, in one sentence each.
Begin with `configuration`, then `discovery` and `policies`.
"""
