"""Logging in to the pages at an OpenID provider: authorization code with PKCE, ID tokens checked here."""
