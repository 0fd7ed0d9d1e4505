"""LM Studio's own chat (v1), and its older paths (v0) for OpenAI's dialects.

It refuses state and tools that the model server would run, unless a setting allows it.
Begin with `chat`, then `request` for requests and `answer` for answers.
"""
