"""How clusters differ in phenotype and composition, and checks of these comparisons."""
