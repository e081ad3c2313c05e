"""Images: preparation, registration, template, maps, volumes."""
