"""Reading, checking and writing images."""
