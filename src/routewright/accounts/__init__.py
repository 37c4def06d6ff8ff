"""The ledger on the command line: totals, and everything for another program to read."""
