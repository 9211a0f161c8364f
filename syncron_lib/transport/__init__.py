"""Byte streams, and how the program at their other end is started."""
