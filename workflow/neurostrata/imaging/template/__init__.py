"""The study template and its registration with MNI152."""
