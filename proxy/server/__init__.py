"""Everything that waits: HTTP to chat apps and to the model server, and what happens between the two.

It refuses what it cannot judge: paths that are not in its table, requests and responses that are malformed.
Begin with `routing/routes`, the table of paths, and `handlers/guarded`, which serves the guarded ones.
"""
