"""What is kept of a request: the journal's record, the ledger that writes it, and the counters of `/metrics`."""
