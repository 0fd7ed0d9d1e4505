"""Refusals of models."""
