"""The demo: stand-in models, the gateway in front of them, and sample prompts."""
