"""The management API: what LiteLLM's clients ask of keys, teams, users, customers, budgets and models.

Plain functions on a database transaction; the store's process and the command line call the same ones.
"""
