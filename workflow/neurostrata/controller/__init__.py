"""Around a running study: going on after a crash, and watching it."""
