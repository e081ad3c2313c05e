"""Pages and their parts in HTML."""
