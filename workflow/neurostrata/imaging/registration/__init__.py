"""Transforms, and the engines that find them."""
