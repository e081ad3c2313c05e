"""The siamese attention network of Arco and colleagues (2023)."""
