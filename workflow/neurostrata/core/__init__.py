"""Paths, tables, files and settings: what every other part may use, and what uses none of them."""
