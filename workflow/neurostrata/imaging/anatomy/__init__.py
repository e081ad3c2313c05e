"""From a T1-weighted image to its brain mask, Jacobians and tissue maps."""
