"""The console: pages at / of the admin listener that show what went through the proxy.

It never changes or delays a stream: pages are made in threads of their own. It refuses other web pages, names that only
resolve to this machine, and, where others can reach the listener, whoever shows no admin key.
Begin with `app` and `pages`; `access` says who may look, `text` makes hostile text harmless.
"""
