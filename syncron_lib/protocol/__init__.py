"""Bytes to frames to messages and back. Nothing here reads or writes a stream."""
