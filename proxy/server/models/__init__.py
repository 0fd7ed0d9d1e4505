"""What the model server tells of its models, asked beside the requests of clients: chat templates, context lengths.

It refuses a prompt that is longer than the model's context, where the model server would cut it without a word.
Begin with `api`, which asks; then `chat_templates` and `context_length`.
"""
