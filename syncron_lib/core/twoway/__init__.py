"""Both ways: what each replica knows, and what follows from it; see docs/two-way.md."""
