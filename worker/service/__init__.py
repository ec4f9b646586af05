"""What keeps the worker running."""
