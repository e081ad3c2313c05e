"""Where in the images strata differ: effect sizes, means and spreads per voxel, and where they are largest."""
