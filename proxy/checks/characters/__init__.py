"""Which characters a text may have: scripts, general categories and ranges, for `check: characters`.

It refuses names that Unicode does not know. Begin with `kind`; `sets` reads the names, `scripts` is the table.
"""
