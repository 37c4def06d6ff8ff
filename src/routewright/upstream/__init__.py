"""The upstream side: pooled connections, one attempt, and the order of attempts."""
