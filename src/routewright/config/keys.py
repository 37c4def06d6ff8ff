"""Our section `keys`: virtual keys that stand in the file."""

from __future__ import annotations

from routewright.config.budgets import budget, budgets_by_name
from routewright.config.model_names import ModelNames
from routewright.config.problems import shown
from routewright.config.section import Section, variable_of
from routewright.settings import KeySettings
from routewright.types import Secret


def read_keys(top: Section, master_key: Secret | None) -> tuple[KeySettings, ...]:
    found: list[KeySettings] = []
    seen: set[str] = set()
    aliases: set[str] = set()
    for entry in top.sections("keys"):

        def refuse(name: str, entry: Section = entry) -> None:
            entry.error("key", f"the variable {shown(name)} is not set")

        text = entry.token("key", on_unset=refuse)
        if entry.entries.get("key") is None:
            entry.error("key", "missing")
        elif entry.entries["key"].value is None:
            entry.error("key", "must not be empty")
        alias = entry.text("alias", most=256)
        models = _key_models(entry)
        if text is not None:
            if master_key is not None and text == master_key.reveal():
                entry.error("key", "equals the master key")
            elif text in seen:
                entry.error("key", "the same key stands above already")
            seen.add(text)
        if alias is not None and alias in aliases:
            entry.error("alias", f'"{shown(alias)}" is the alias of another key')
        if alias is not None:
            aliases.add(alias)
        key = KeySettings(
            key=Secret(text or ""),
            alias=alias,
            models=models,
            rpm_limit=entry.integer("rpm_limit"),
            tpm_limit=entry.integer("tpm_limit"),
            max_parallel_requests=entry.integer("max_parallel_requests"),
            model_rpm_limit=_model_limits(entry, "model_rpm_limit"),
            model_tpm_limit=_model_limits(entry, "model_tpm_limit"),
            budget=budget(entry),
            model_max_budget=budgets_by_name(entry, "model_max_budget"),
            dial=_key_dial(entry),
            tags=entry.names("tags") or (),
            cache_controls=entry.names("allowed_cache_controls") or None,
            guardrails=entry.names("guardrails") or (),
            stores_prompts=entry.boolean("store_prompts_in_spend_logs") or False,
        )
        entry.finish()
        if text is not None:
            found.append(key)
    return tuple(found)


def _key_dial(entry: Section) -> tuple[float, float] | None:
    least, most = entry.number("min_quality", most=1.0), entry.number("max_quality", most=1.0)
    if least is None and most is None:
        return None
    dial = (0.0 if least is None else least, 1.0 if most is None else most)
    if dial[0] > dial[1]:
        entry.error("min_quality", "is above max_quality")
    return dial


def _model_limits(entry: Section, key: str) -> dict[str, int]:
    section = entry.section(key)
    found = {}
    for model in section.entries:
        limit = section.integer(model)
        if limit is not None:
            found[model] = limit
    return found


def _key_models(entry: Section) -> tuple[str, ...] | None:
    """None, all of them, where the file says nothing, an empty list, or `all-proxy-models`, as with LiteLLM.

    A list that is empty only because its variables are not set must not come to mean all models: an error.
    """
    models = entry.names("models")
    node = entry.entries.get("models")
    if models == () and node is not None and node.value != []:
        entry.error("models", "none of its variables is set; an empty list would mean all models")
    if not models or "all-proxy-models" in models:
        return None
    return models


def check_key_models(top: Section, models: ModelNames) -> None:
    """Warn of names that nothing has; asked once all names are known."""
    node = top.entries.get("keys")
    entries = node.value if node is not None and isinstance(node.value, list) else []
    for index, entry in enumerate(entries):
        listed = entry.value.get("models") if isinstance(entry.value, dict) else None
        if listed is None or not isinstance(listed.value, list):
            continue
        for name in listed.value:
            text = name.value
            if isinstance(text, str) and "*" not in text and variable_of(name) is None and not models.has_name(text):
                special = text in models.access_groups or text in (
                    "all-proxy-models",
                    "all-team-models",
                    "no-default-models",
                )
                if not special:
                    message = f'no model or route named "{shown(text)}"'
                    top.notes.warn(name, f"keys[{index}].models", message, models.nearest(text))
