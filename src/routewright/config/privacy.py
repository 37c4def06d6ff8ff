"""Whose prompts are kept, how much of them, and for how long: nobody's, unless the file says so."""

from __future__ import annotations

from routewright.config.budgets import kept_seconds
from routewright.config.section import Section
from routewright.settings import PromptSettings

MOST_KB = 200
"""The ledger reads a record with both texts of a call in one piece."""


def read_prompts(general: Section, litellm: Section) -> PromptSettings:
    """LiteLLM's `store_prompts_in_spend_logs` and `turn_off_message_logging`, which wins; and their bounds."""
    nothing = PromptSettings()
    stores_all = general.boolean("store_prompts_in_spend_logs") or False
    most_kb = general.integer("max_stored_prompt_kb")
    if most_kb is not None and most_kb > MOST_KB:
        general.error("max_stored_prompt_kb", f"expected {MOST_KB} at most")
    kept_s = kept_seconds(general, "maximum_prompt_retention_period")
    return PromptSettings(
        stores_all=stores_all,
        is_forbidden=litellm.boolean("turn_off_message_logging") or False,
        max_bytes=nothing.max_bytes if most_kb is None else most_kb * 1024,
        kept_s=nothing.kept_s if kept_s is None else kept_s,
    )
