"""Anthropic's messages, and the count of a prompt's tokens.

It refuses unknown roles and blocks, tools that the model server runs itself, and media, unless a setting allows them.
Begin with `messages`, then `request` for requests and `answer` for answers.
"""
