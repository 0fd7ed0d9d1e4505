"""Fuzz drivers, one for each decoder: damaged streams, bodies and requests, and the laws that hold all the same."""
