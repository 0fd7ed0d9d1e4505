"""Ollama's chat, generate, embeddings and lists of models.

It refuses models in the cloud, and what goes around the chat template, unless a setting allows it.
Begin with `chat`, then `request` for requests and `answer` for answers.
"""
