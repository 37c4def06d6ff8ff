"""`files_settings`: accounts of providers for files that name no model -> settings."""

from __future__ import annotations

from routewright.config.deployments import Deployments
from routewright.config.section import Section
from routewright.settings import DeploymentSettings


def read_accounts(top: Section, deployments: Deployments) -> tuple[DeploymentSettings, ...]:
    """In the file's order: the first is for whoever names no provider."""
    found = []
    for place, entry in enumerate(top.sections("files_settings")):
        account = deployments.account(entry, f"files_settings/{place}")
        if account is not None:
            found.append(account)
    return tuple(found)
