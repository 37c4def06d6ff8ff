"""`/budget/*`: budgets with a name, which keys, teams, users, members and customers point to."""

from __future__ import annotations

from typing import Any

from routewright.errors import NotFound
from routewright.management import fields, views
from routewright.management.fields import BUDGET_FIELDS, read_fields
from routewright.management.request import Request, new_id
from routewright.store import schema
from routewright.store.rows import Row, find, get

Reply = dict[str, Any]
_ID = frozenset({"budget_id"})


def new(request: Request) -> Reply:
    """`/budget/new`."""
    written = read_fields(BUDGET_FIELDS, request.body, frozenset({request.actor.role}), known=_ID)
    given = request.body.get("budget_id")
    budget_id = new_id() if given is None else fields.identity(given, "budget_id")
    return views.budget(request.writer.add(schema.budgets, {**written, "budget_id": budget_id}))


def update(request: Request) -> Reply:
    """`/budget/update`: the fields given, all others stay. Null clears one."""
    before = _get(request, fields.required(request.body, "budget_id", fields.identity))
    roles = frozenset({request.actor.role})
    written = read_fields(BUDGET_FIELDS, request.body, roles, known=_ID, keeps_nulls=True)
    return views.budget(request.writer.change(schema.budgets, before, dict(written)))


def delete(request: Request) -> Reply:
    """`/budget/delete`: what pointed to it is limited by its own fields alone from then on."""
    row = _get(request, fields.required(request.body, "id", fields.identity))
    request.writer.remove(schema.budgets, row)
    return views.budget(row)


def info(request: Request) -> list[Reply]:
    """`/budget/info`: those named in `budgets`."""
    return [views.budget(_get(request, name)) for name in fields.names(request.body.get("budgets"), "budgets")]


def list_budgets(request: Request) -> list[Reply]:
    """`/budget/list`."""
    return [views.budget(row) for row in find(request.connection, schema.budgets)]


def _get(request: Request, budget_id: str) -> Row:
    found = get(request.connection, schema.budgets, budget_id)
    if found is None:
        raise NotFound("there is no such budget", param="budget_id")
    return found
