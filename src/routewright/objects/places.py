"""Where an object lies, or is to lie: the deployment whose account it is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from routewright.catalog import Catalog, may_use
from routewright.errors import InvalidRequest, ModelAccessDenied, NotFound, UnsupportedField
from routewright.providers.objects import serves_objects
from routewright.types import Caller, Deployment, Group
from routewright.wire.media import metered


class Places:
    """Everything that the configuration knows, by its deployments' ids."""

    def __init__(self, catalog: Catalog, accounts: Sequence[Deployment]) -> None:
        """`accounts`: where files lie that are for no model."""
        self._catalog = catalog
        self._accounts = accounts
        self._by_id = {each.id: each for group in catalog.groups() for each in group.deployments}
        self._by_id |= {each.id: each for each in accounts}

    def group_of(self, model: str, caller: Caller, endpoint: str) -> Group:
        """Who serves a model's name. Raises ModelNotFound, ModelAccessDenied, UnsupportedField."""
        group = self._catalog.candidates(metered(endpoint, {"model": model}, None), caller).groups[0]
        if not any(serves_objects(each) for each in group.deployments):
            raise UnsupportedField(f'the provider of "{model}" takes no {endpoint}', param="model")
        return group

    def default(self, provider: str | None, caller: Caller) -> Group:
        """Where what names no model lies: in the account that is configured for it, else in that of the first model
        that the caller may use. Raises ModelAccessDenied, InvalidRequest."""
        for account in self._accounts:
            if provider in (None, account.provider):
                return Group(account.model_name, "account", [account])
        is_there = False
        for group in self._catalog.groups():
            first = group.deployments[0]
            if provider in (None, first.provider) and serves_objects(first):
                is_there = True
                if caller.models is None or may_use(caller.models, group.name):
                    return Group(group.name, group.mode, [first])
        if is_there:
            raise ModelAccessDenied("this key may use none of the models in whose accounts files lie", param="model")
        if provider is not None:
            raise InvalidRequest(f'no account of "{provider[:64]}" takes files here', param="custom_llm_provider")
        raise InvalidRequest("no account here takes files: every provider speaks a dialect of its own", param="model")

    def of(self, row: Mapping[str, Any]) -> Deployment:
        """Where a known object lies. An entry that was changed has another id; its name stands for it then."""
        found = self._by_id.get(row["deployment_id"])
        if found is None:
            group = self._catalog.group(row["model"])
            same = [each for each in group.deployments if each.provider == row["provider"]] if group is not None else []
            if len(same) != 1:
                raise NotFound("the deployment that this lies at is no longer configured")
            found = same[0]
        return found
