"""What a root keeps of itself as one of several replicas; see docs/two-way.md."""
