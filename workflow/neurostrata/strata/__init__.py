"""Clusters of people in embedding space, and how they differ in phenotype (Dimitri et al. 2.4)."""
