"""Ways of finding groups of people in codes: a registry, one file and one schema each."""
