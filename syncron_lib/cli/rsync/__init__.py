"""rsync's command line: a front that translates it to options of syncron, and has rsync's face.

Nothing outside of this package knows of it, but for `cli.main`, which starts it.
"""
