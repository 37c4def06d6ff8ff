"""Limits and budgets over several machines: what a worker says to the Valkey that they share, and what runs there."""
