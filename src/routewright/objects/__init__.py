"""Files, batches and other objects that lie at a provider and belong to somebody here."""
