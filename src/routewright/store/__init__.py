"""Keys, teams, users, customers, budgets, models and spend between restarts, in SQLite or Postgres.

Imported by the store's own process and by commands, never by a worker: SQLAlchemy costs 33 MB and half a second.
"""
