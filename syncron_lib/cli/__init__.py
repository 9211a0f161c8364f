"""argv and YAML in, text and JSON out: the only code that prints."""
