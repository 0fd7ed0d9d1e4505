"""Tests of proxy.server.backends."""
