"""The command `safety-proxy`: what a person types, and what then happens on the terminal.

It refuses unknown commands, flags and settings, and names the nearest one. A failure is one line and exit code 2.
Begin with `arguments`, the grammar; `serve`, `demo` and `config` are its commands.
"""

from proxy.cli.arguments import main

__all__ = ["main"]
