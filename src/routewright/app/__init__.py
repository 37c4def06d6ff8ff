"""Builds the parts from settings, joins them to the front, and runs them."""
