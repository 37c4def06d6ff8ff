"""`routewright doctor`: what would keep this machine from serving well, in plain words and with what to do about it."""
