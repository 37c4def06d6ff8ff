"""LiteLLM's `config.yaml` -> Settings. `load_settings` reads, `check_config` tells a terminal what it found."""

from routewright.config.check import check_config
from routewright.config.load import load_settings, load_text
from routewright.config.problems import ConfigError, Problem

__all__ = ["ConfigError", "Problem", "check_config", "load_settings", "load_text"]
