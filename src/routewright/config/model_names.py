"""The names that a configuration gives to models, aliases and routes, and which of them can be served."""

from __future__ import annotations

from collections.abc import Mapping

from routewright.config.deployments import Deployments
from routewright.config.problems import nearest
from routewright.config.section import Section


class ModelNames:
    """The names that requests may ask for, and which of them can be served."""

    def __init__(self, deployments: Deployments, top: Section) -> None:
        self.modes = deployments.names
        self.served = {deployment.model_name for deployment in deployments.usable}
        self.access_groups = {group for deployment in deployments.usable for group in deployment.access_groups}
        self.aliases: set[str] = set()
        routes = top.entries.get("routes")
        self.routes = {"auto", *(routes.value if routes is not None and isinstance(routes.value, dict) else ())}

    @property
    def chat_models(self) -> list[str]:
        """Models of their own name that can answer a chat."""
        return [name for name, mode in self.modes.items() if mode == "chat" and "*" not in name]

    @staticmethod
    def _fits(name: str, patterns: Mapping[str, object] | set[str]) -> bool:
        if name in patterns:
            return True
        for pattern in patterns:
            head, star, tail = pattern.partition("*")
            if star and len(name) >= len(head) + len(tail) and name.startswith(head) and name.endswith(tail):
                return True
        return False

    def has_model(self, name: str) -> bool:
        return self._fits(name, self.modes)

    def serves(self, name: str) -> bool:
        return self._fits(name, self.served)

    def has_name(self, name: str) -> bool:
        return self.has_model(name) or name in self.aliases or name in self.routes

    def nearest(self, name: str) -> str | None:
        return nearest(name, [*self.modes, *self.aliases, *self.routes])
