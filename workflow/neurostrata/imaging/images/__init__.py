"""Reading and writing images, checked."""
