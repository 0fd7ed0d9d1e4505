"""What serves a request once its path is known: a guarded exchange, a list of models, a moderation.

They refuse what a policy blocks, and whatever of the model server's response cannot be judged.
Begin with `guarded`: `_serve` is an exchange from top to bottom. Every token goes through `_on_data` in `relay`.
"""
