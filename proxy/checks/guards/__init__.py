"""Guard models: how each one is asked, and what its answer means. Pure: who sends the questions is above.

A text in a prompt never speaks for the prompt, no part of a text is left out, and no reply passes that cannot be read.
Begin with format.py:

1. format.py: what is known of a guard, as data; one file for each in proxy/guard_formats
2. neutral.py: a judged text cannot speak for the guard's own prompt
3. render.py: the prompts for a text, in overlapping pieces if it is too long
4. verdict.py: a reply of the guard as a verdict, or as an error
5. cache.py: verdicts that are known already
"""
