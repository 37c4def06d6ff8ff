"""Fitting and measuring routers, offline; imports `routing`, never a station that talks to the network."""
