"""Measurements of the worker's own code over long times and large folders."""
