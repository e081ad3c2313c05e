"""Component maps of single people from BOLD series."""
