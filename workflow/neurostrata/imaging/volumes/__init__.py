"""From maps of single people to one array per modality on the grid of the models."""
