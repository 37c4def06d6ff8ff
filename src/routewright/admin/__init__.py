"""The control plane: everything that is not the data path, as one ASGI application behind the same front."""
