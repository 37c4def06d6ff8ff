"""Which organization a team or a key belongs to, and what that one bounds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from routewright.errors import InvalidRequest, NotFound
from routewright.management import fields
from routewright.management.grants import ALL_MODELS, ALL_ORGANIZATION_MODELS, NO_MODELS, covers, meant, with_budget
from routewright.management.request import Request
from routewright.store import schema
from routewright.store.rows import Row, get

_NUMBERS = ("max_budget_nusd", "rpm_limit", "tpm_limit", "max_parallel_requests")
_SPECIAL = frozenset({ALL_MODELS, ALL_ORGANIZATION_MODELS, NO_MODELS})


def organization(request: Request, organization_id: Any) -> Row:
    """Raises NotFound."""
    found = get(request.connection, schema.organizations, fields.identity(organization_id, "organization_id"))
    if found is None:
        raise NotFound("there is no such organization", param="organization_id")
    return found


def keep_within(request: Request, team: Mapping[str, Any], changed: Collection[str] | None = None) -> None:
    """Raises InvalidRequest where a team is given more than its organization has, as LiteLLM does.

    What counts is the organization's own limits, whatever teams are given; this tells of a mistake early. `changed`:
    look at these columns alone; None: at all of them.
    """
    if team.get("organization_id") is None:
        return
    above = organization(request, team["organization_id"])
    if changed is not None and "organization_id" not in changed:
        names: Collection[str] = changed
    else:
        names = ("models", *_NUMBERS)
    allowed = meant(above["models"])
    for name in (team.get("models") or ()) if "models" in names and allowed is not None else ():
        if name not in _SPECIAL and not any(covers(pattern, name) for pattern in allowed or ()):
            raise InvalidRequest(f'models: the organization may not use "{name}"', param="models")
    budget_id = above["budget_id"]
    budget = get(request.connection, schema.budgets, budget_id) if budget_id else None
    most = with_budget(above, {budget_id: budget} if budget is not None else {})
    for name in _NUMBERS:
        if name in names and None not in (team.get(name), most.get(name)) and team[name] > most[name]:
            field = name.removesuffix("_nusd")
            raise InvalidRequest(f"{field}: more than the organization has", param=field)


def of_key(request: Request, organization_id: Any, team: Row | None) -> str | None:
    """The organization that a key is to belong to: its team's, or where that has none the one it was asked for.

    Raises NotFound for one that there is not, and InvalidRequest where it is another than the team's.
    """
    of_team = team["organization_id"] if team is not None else None
    if organization_id is None or organization_id == of_team:
        return of_team
    found = organization(request, organization_id)
    if of_team is not None:
        raise InvalidRequest("the key's team belongs to another organization", param="organization_id")
    return str(found["organization_id"])
