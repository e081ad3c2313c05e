"""Measures of the quality of each person's images and of their registration."""
