"""The page on which people look at everybody and decide who is left out."""
