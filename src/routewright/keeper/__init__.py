"""The store's own process: the one place of a machine that talks to the database while a gateway serves."""
