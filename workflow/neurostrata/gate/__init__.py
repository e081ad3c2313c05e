"""Checks of everything that a study names, before any job starts."""
