"""The HTTP/1.1 front: everything a client sends comes through here, and nothing malformed gets further."""
