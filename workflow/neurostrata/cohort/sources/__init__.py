"""Where the images of modalities come from: one record for each value of `from`."""
