"""How fast the worker is, beside what else could do the same work on the same machine in the same minutes."""
