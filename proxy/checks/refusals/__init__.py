"""Whether a model itself refuses: read from the first characters of its answer, in sixteen languages.

It knows phrases, not meaning, and never holds text unless a rule rewrites refusals. Nothing of a language is loaded
before an answer has a word of it. Begin with `detector`.
"""
