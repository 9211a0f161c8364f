"""syncron: make one directory tree like another, over SSH, once."""

__version__ = "0.1.0"
