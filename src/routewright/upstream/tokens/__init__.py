"""How each kind of credential is fetched. These functions block, and are called in a thread."""
