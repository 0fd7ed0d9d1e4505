"""What is known of the model server's models: chat templates, context lengths, where they run, which names are shown.

It refuses prompts that the model server would cut silently, and prompts that would leave the machine.
Begin with `api`, which asks the model server; then `chat_templates`, `context_length` and `cloud_models`.
"""
