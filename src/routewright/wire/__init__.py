"""Client dialects: a client's bytes to values and back. No I/O and no clock."""
