"""Runs that nobody watches: what surrounds them, when they come, and how they went."""
