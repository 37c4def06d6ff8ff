"""`/customer/*` and `/end_user/*`: the people behind a caller, named by a request's `user`."""

from __future__ import annotations

from typing import Any

from routewright.errors import NotFound
from routewright.management import fields, views
from routewright.management.fields import CUSTOMER_FIELDS, read_fields
from routewright.management.request import Request
from routewright.management.teams import changed
from routewright.store import schema
from routewright.store.database import now_ms
from routewright.store.rows import Row, find, get, spent_nusd

Reply = dict[str, Any]
_ID = frozenset({"user_id"})


def new(request: Request) -> Reply:
    """`/customer/new`."""
    customer_id = fields.required(request.body, "user_id")
    written = read_fields(CUSTOMER_FIELDS, request.body, frozenset({request.actor.role}), known=_ID)
    row = {
        **written,
        "customer_id": customer_id,
        "blocked": bool(written.get("blocked")),
        "budget_started_at_ms": now_ms(),
        "extra": written.extra or None,
    }
    return _view(request, request.writer.add(schema.customers, row))


def update(request: Request) -> Reply:
    """`/customer/update`: the fields given, all others stay. Null clears one."""
    before = _get(request, fields.required(request.body, "user_id"))
    roles = frozenset({request.actor.role})
    written = read_fields(CUSTOMER_FIELDS, request.body, roles, known=_ID, keeps_nulls=True)
    return _view(request, request.writer.change(schema.customers, before, changed(before, written)))


def delete(request: Request) -> Reply:
    """`/customer/delete`; all or none."""
    wanted = fields.names(request.body.get("user_ids"), "user_ids")
    for customer_id in wanted:
        request.writer.remove(schema.customers, _get(request, customer_id))
    return {"deleted_customers": wanted}


def block(request: Request) -> Reply:
    """`/customer/block`: `user_ids`; one that is new is made, so that it is blocked before it comes."""
    return _set_blocked(request, True)


def unblock(request: Request) -> Reply:
    """`/customer/unblock`."""
    return _set_blocked(request, False)


def _set_blocked(request: Request, is_blocked: bool) -> Reply:
    rows = []
    for customer_id in fields.names(request.body.get("user_ids"), "user_ids"):
        before = get(request.connection, schema.customers, customer_id)
        if before is None:
            rows.append(request.writer.add(schema.customers, {"customer_id": customer_id, "blocked": is_blocked}))
        else:
            action = "blocked" if is_blocked else "unblocked"
            rows.append(request.writer.change(schema.customers, before, {"blocked": is_blocked}, action))
    return {"blocked_users": [_view(request, row) for row in rows if row["blocked"]]}


def info(request: Request) -> Reply:
    """`/customer/info?end_user_id=`."""
    customer_id = request.asked("end_user_id") or request.asked("user_id")
    if customer_id is None:
        raise NotFound("name a customer in end_user_id", param="end_user_id")
    return _view(request, _get(request, customer_id))


def list_customers(request: Request) -> list[Reply]:
    """`/customer/list`."""
    return [_view(request, row) for row in find(request.connection, schema.customers)]


def _get(request: Request, customer_id: str) -> Row:
    found = get(request.connection, schema.customers, customer_id)
    if found is None:
        raise NotFound("there is no such customer", param="user_id")
    return found


def _view(request: Request, row: Row) -> Reply:
    customer_id = row["customer_id"]
    spent = spent_nusd(request.connection, "customer_id", [customer_id]).get(customer_id, 0)
    budget = get(request.connection, schema.budgets, row["budget_id"]) if row["budget_id"] else None
    return views.customer(row, spent, budget)
