"""Upstream dialects: a call to bytes, bytes to an answer. No I/O and no clock."""
