"""routewright: an OpenAI-compatible gateway that learns which model to send each request to."""

__version__ = "0.1.0"
