"""syncron: make one directory tree like another, over SSH, once."""

__version__ = "0.1.0"

OBJECTS_BETWEEN_COLLECTIONS = 200_000
"""Objects made before cycles among them are looked for, in all processes. A run makes millions of
plain values and hardly a cycle; to look as often as Python does takes a twentieth of the time of a
scan and of a transfer, and a thirtieth of the shortest run."""
