"""Who may ask: the keys of keys.yaml as they are read, kept in step with the file, and compared with headers.

It knows digests of keys, never the keys. A wrong file changes nothing; a request that shows no valid key is refused.
Begin with `key`, then `reading` and `authentication`.
"""
