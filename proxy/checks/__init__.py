"""The kinds of checks beside patterns and words: detectors, chat markers, limits on an answer.

They know no wire format, do no I/O and never return text: they point at spans, as `core.check` demands.
Begin with `passes`, then `markers` and the folder `detectors`.
"""
