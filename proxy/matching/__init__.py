"""The exact streaming matcher: every pattern and word rule of a policy in one pass over the text.

It refuses a pattern that cannot be matched exactly in a stream, or not in linear time. Begin with `rules`.
Read in this order: rules (what goes in), charsets, syntax (pattern -> tree), nfa (tree -> items), lazy_dfa (items ->
lazily built states), edges, words, plainwords, foldsymbols, spellings and foldedwords (lists of words as
items of the same automaton), program
(all for one pass), scan (at work on one text), matcher (the check that a policy uses), transition_cache (why most
tokens cost one look-up), look (why most of a long text is not read).
Rules with `fold`, and text that is JSON source, are read through views.
"""
