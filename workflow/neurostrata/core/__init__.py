"""Paths, tables, files and settings, which every other package may use and which use none of them."""
