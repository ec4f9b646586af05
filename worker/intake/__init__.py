"""The doorway: which files are ready."""
