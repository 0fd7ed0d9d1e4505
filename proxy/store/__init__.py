"""The store: the records of exchanges in a data base, for the console and for `safety-proxy store`.

It keeps what the decision log keeps (docs/log.md), never more. It refuses a data base that a newer proxy has made.
Begin with `database`; `writer` is the thread that fills it, `queries` is what pages ask.
"""
