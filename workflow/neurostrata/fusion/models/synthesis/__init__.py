"""The synthesis network of Chartsias and colleagues (2018)."""
