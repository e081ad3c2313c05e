"""The data of models: volumes, folds, missing modalities."""
