"""Pacing: what the workers of a transfer share, so that together they load nobody too much."""
