"""The far end's main loop: an endpoint served over a byte stream."""
