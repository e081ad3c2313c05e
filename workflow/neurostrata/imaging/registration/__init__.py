"""Registration of images: engines, transforms, and the command that registers a person."""
