"""`credential_list`: named sets of litellm_params."""

from __future__ import annotations

from routewright.config.problems import shown
from routewright.config.section import Section
from routewright.config.source import Node


class Credentials:
    """`credential_list`: named sets of litellm_params that deployments take theirs from."""

    def __init__(self, top: Section) -> None:
        self.by_name: dict[str, Node] = {}
        for entry in top.sections("credential_list"):
            name = entry.text("credential_name")
            values = entry.take("credential_values")
            entry.know("credential_info")
            entry.finish()
            if name is None:
                if "credential_name" not in entry.entries:
                    entry.error("credential_name", "missing")
                continue
            if name in self.by_name:
                entry.error("credential_name", f'a second credential named "{shown(name)}"')
            elif values is not None and isinstance(values.value, dict):
                self.by_name[name] = values
            else:
                entry.error("credential_values", "expected a mapping")
