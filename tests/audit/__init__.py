"""Tests of proxy.audit."""
