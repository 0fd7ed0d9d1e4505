"""What survives a restart: small JSON files in the directory that the setting `state_dir` names.

Nobody but the directory's owner can read it; it refuses one that others can read, or that cannot be written.
Begin with `directory`.
"""
