"""Running a study: one controller at a time, resuming after a crash, and watching its progress."""
