"""Sealed files: the keyring, the format, the manifest; see docs/secure-format.md.

Runs where the key is, and is never shipped to another machine.
"""
