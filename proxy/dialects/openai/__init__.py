"""OpenAI's chat, completions, embeddings, moderations and lists of models, as the model servers speak them.

It refuses unknown roles and kinds of parts, and media that a policy or a setting does not allow.
Begin with `chat`, then `request` for requests and `chunk_stream` for answers.
"""
