"""Models that the store keeps -> deployments, by the rules of `model_list`.

One that is wrong is left out with its reason: it was accepted at some time, and must not keep the others from serving.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from routewright.config.deployments import Deployments
from routewright.config.named_credentials import Credentials
from routewright.config.section import ENVIRONMENT, Notes, Section
from routewright.config.source import tree_of
from routewright.settings import DeploymentSettings

FILE = "store"
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*_API_KEY\Z")
"""Who may add models may name a provider's variable; the database's password and the master key stay out of reach."""


def read_stored(
    entries: Iterable[Mapping[str, Any]], environ: Mapping[str, str], taken: Iterable[str] = ()
) -> tuple[list[DeploymentSettings], list[str]]:
    """(deployments, why others were left out). `taken`: ids of the configuration's own."""
    usable: list[DeploymentSettings] = []
    reasons: list[str] = []
    ids = set(taken)
    for entry in entries:
        name, identity = entry.get("model_name"), (entry.get("model_info") or {}).get("id")
        where = f'stored model "{name}" ({identity})'
        if not entry.get("unsealed", True):
            reasons.append(f"{where} is left out: its credentials were sealed with another key")
        elif identity in ids:
            reasons.append(f"{where} is left out: the configuration has a deployment with this id")
        elif (variable := _refused_variable(entry)) is not None:
            reasons.append(f"{where} is left out: the variable {variable} is none of a provider's (NAME_API_KEY)")
        else:
            found, why = _read(entry, environ)
            usable += found
            reasons += [f"{where}: {reason}" for reason in why]
            ids.add(str(identity))
    return usable, reasons


def _read(entry: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[list[DeploymentSettings], list[str]]:
    notes = Notes(environ, lenient=True)
    notes.may_read_files = False
    shown = {name: entry[name] for name in ("model_name", "litellm_params", "model_info") if name in entry}
    top = Section(tree_of({}, FILE), "", notes)
    deployments = Deployments(notes, Credentials(top), Section(tree_of({}, FILE), "", notes), drops_unsupported=False)
    deployments.read(Section(tree_of(shown, FILE), "", notes))
    deployments.finish()
    if notes.errors:
        return [], [str(problem) for problem in notes.errors]
    return deployments.usable, [str(warning) for warning in notes.warnings]


def _refused_variable(value: Any) -> str | None:
    """A variable that the entry names anywhere and may not."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return next((found for entry in value if (found := _refused_variable(entry)) is not None), None)
    if isinstance(value, str) and value.startswith(ENVIRONMENT):
        name = value[len(ENVIRONMENT) :].strip()
        return None if _VARIABLE.match(name) else name
    return None
