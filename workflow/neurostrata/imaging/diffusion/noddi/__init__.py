"""Neurite orientation dispersion and density imaging: the signal model and two engines that fit it."""
