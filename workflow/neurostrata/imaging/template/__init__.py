"""The study template, and how it relates to MNI152 space."""
