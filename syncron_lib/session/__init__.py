"""One run, from two open endpoints to the report."""
