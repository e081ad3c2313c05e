"""Simulated cohorts, grown from the MNI152 template, with a record of everything that was planted in them."""
