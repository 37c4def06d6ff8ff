"""A small client for Valkey and Redis: a connection, and finding the server that it goes to."""
