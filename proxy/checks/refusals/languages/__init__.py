"""Phrases in which models refuse, a module for each language: data alone. All of them are of our own writing.

English is measured (bench.refusals), the others are not. No module here is imported before an answer has a word of its
language, and none refuses to be read without the others. Begin with `en`.
"""
