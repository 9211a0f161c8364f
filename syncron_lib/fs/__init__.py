"""The only code that touches a tree: scanning, reading, publishing, state, locks."""
