"""Trees and command lines for rsync and for syncron called as rsync, and what came of both.

Everything is made from a seed.
"""
