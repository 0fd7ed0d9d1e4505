"""What a rule can name as its check, by one registry of kinds; and the checks beside patterns and words: detectors,
chat markers, limits on an answer, and those of plug-ins.

They know no wire format, do no I/O and never return text: they point at spans, as `core.check` demands.
Begin with `kinds`, then `built_in` and `registry`; `passes`, `markers` and the folder `detectors`; `plugin_pass`.
"""
