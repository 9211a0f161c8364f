"""Values and decisions. Pure: nothing here reads a file, a clock or the environment."""
