"""From diffusion-weighted series to FA and NODDI maps, aligned to the T1-weighted image."""
