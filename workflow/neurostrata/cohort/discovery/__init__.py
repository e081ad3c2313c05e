"""Finding the people and their images in BIDS datasets, HCP and UK Biobank folders."""
