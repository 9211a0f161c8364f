"""Benchmarks: syncron and its peers side by side, over one SSH server, in one run.

    python -m benchmarks [ROW...] [--runs N] [--scale X]

The result is a table in Markdown. Absolute figures belong to the machine; ratios carry over.
"""
