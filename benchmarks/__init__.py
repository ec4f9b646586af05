"""What the worker is measured with; shares nothing with what trains it."""
