"""Real processes and real sockets for the tests: a scripted upstream, the gateway's process, a raw client."""
