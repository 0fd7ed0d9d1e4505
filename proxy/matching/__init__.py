"""The exact streaming matcher: every pattern and word rule of a policy in one pass over the text.

Read in this order: rules (what goes in), charsets, syntax (pattern -> tree), nfa (tree -> items), automaton (items ->
lazily built states), keywords (word lists), scan (both at work on one text), matcher (the check that a policy uses).
Rules with `fold`, and text that is JSON source, are read through views.
"""
