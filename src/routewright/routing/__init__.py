"""Rating models for prompts: features, routers, artefacts, profiles and the decision."""
