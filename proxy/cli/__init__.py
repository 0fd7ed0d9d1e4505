"""The command `safety-proxy`: what a person types (arguments), and what then happens (serve, demo, config)."""

from proxy.cli.arguments import main

__all__ = ["main"]
