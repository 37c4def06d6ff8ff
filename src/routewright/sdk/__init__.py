"""The LiteLLM SDK in a process of its own, for providers whose dialect nobody here speaks."""
