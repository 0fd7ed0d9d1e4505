"""Questions of checks in a running proxy: who answers them, when, and what becomes of the stream."""
