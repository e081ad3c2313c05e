"""How clusters differ in phenotype, and checks of that comparison."""
