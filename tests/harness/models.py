"""A model of the test gateways, and the scripted deployments behind it."""

from __future__ import annotations

from harness.upstream import Deployment


class Model:
    """A model that no other test uses, with what stands behind it."""

    def __init__(self, name: str, *deployments: Deployment) -> None:
        self.name = name
        self.first, self.second = deployments[0], deployments[-1]
        for each in deployments:
            each.forget()
