"""The parts of one guarded exchange: its policies, the filter on its prompt, its timeouts, and the record of it.

It refuses a prompt that a rule blocks, and ends an exchange whose client or model server says nothing for too long.
Begin with `record`, what is known of an exchange; then `prompt_filter` and `timeouts`.
"""
