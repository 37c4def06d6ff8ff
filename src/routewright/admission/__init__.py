"""What a key may use of the gateway: reserved before a call, settled after it."""
