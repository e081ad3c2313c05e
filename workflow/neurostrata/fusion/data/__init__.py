"""What models are trained on: volumes, folds, and modalities that some people lack."""
