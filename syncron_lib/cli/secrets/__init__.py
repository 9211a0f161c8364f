"""Keys and sealed files on the command line."""
