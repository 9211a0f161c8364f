"""One root on one machine behind one small interface, wherever it is."""
