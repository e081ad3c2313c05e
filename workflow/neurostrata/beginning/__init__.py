"""Beginning a study: what is in a folder, and the study's own folder with a configuration that says so."""
