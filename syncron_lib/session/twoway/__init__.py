"""Runs in both directions, between two replicas at a time; see docs/two-way.md."""
