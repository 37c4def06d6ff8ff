"""From a request of the management API to its answer: the table of operations, and the transaction around each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from routewright.errors import GatewayError, InternalError, InvalidRequest, error_body, error_headers
from routewright.management import activity, audit, budgets, customers, keys, models, organizations, spend, teams, users
from routewright.management.request import Request, actor_of
from routewright.management.rights import MAY, Actor
from routewright.management.seal import Seal
from routewright.storage import ManageReply, ManageRequest
from routewright.store.database import Database
from routewright.wire.json import decode_object

MAX_PARAMETERS = 50
log = logging.getLogger("routewright")
_encode = msgspec.json.Encoder().encode

OPERATIONS: dict[str, Callable[[Request], Any]] = {
    "key_generate": keys.generate,
    "key_service_account_generate": keys.generate_for_service,
    "key_update": keys.update,
    "key_bulk_update": keys.bulk_update,
    "key_delete": keys.delete,
    "key_regenerate": keys.regenerate,
    "key_block": keys.block,
    "key_unblock": keys.unblock,
    "key_info": keys.info,
    "key_health": keys.health,
    "key_list": keys.list_keys,
    "key_aliases": keys.aliases,
    "team_new": teams.new,
    "team_update": teams.update,
    "team_delete": teams.delete,
    "team_block": teams.block,
    "team_unblock": teams.unblock,
    "team_member_add": teams.member_add,
    "team_member_update": teams.member_update,
    "team_member_delete": teams.member_delete,
    "team_model_add": teams.model_add,
    "team_model_delete": teams.model_delete,
    "team_info": teams.info,
    "team_list": teams.list_teams,
    "organization_new": organizations.new,
    "organization_update": organizations.update,
    "organization_delete": organizations.delete,
    "organization_member_add": organizations.member_add,
    "organization_member_update": organizations.member_update,
    "organization_member_delete": organizations.member_delete,
    "organization_info": organizations.info,
    "organization_list": organizations.list_organizations,
    "user_new": users.new,
    "user_update": users.update,
    "user_delete": users.delete,
    "user_info": users.info,
    "user_list": users.list_users,
    "customer_new": customers.new,
    "customer_update": customers.update,
    "customer_delete": customers.delete,
    "customer_block": customers.block,
    "customer_unblock": customers.unblock,
    "customer_info": customers.info,
    "customer_list": customers.list_customers,
    "budget_new": budgets.new,
    "budget_update": budgets.update,
    "budget_delete": budgets.delete,
    "budget_info": budgets.info,
    "budget_list": budgets.list_budgets,
    "model_new": models.new,
    "model_update": models.update,
    "model_patch": models.patch,
    "model_delete": models.delete,
    "audit": audit.list_audit,
    "user_daily_activity": activity.of_user,
    "team_daily_activity": activity.of_team,
    "organization_daily_activity": activity.of_organization,
    "global_spend": activity.spend,
    "global_spend_logs": activity.spend_by_day,
    "global_spend_keys": activity.spend_by_key,
    "global_spend_teams": activity.spend_by_team,
    "global_spend_models": activity.spend_by_model,
    "global_spend_provider": activity.spend_by_provider,
    "global_activity": activity.activity,
    "global_activity_model": activity.activity_by_model,
    "spend_logs": spend.list_logs,
    "spend_keys": spend.keys,
    "spend_users": spend.users,
    "spend_teams": spend.teams,
    "spend_tags": spend.tags,
    "spend_report": spend.report,
}
assert OPERATIONS.keys() == MAY.keys(), "an operation that nobody has rights to, or a right to nothing"
READS = frozenset(
    name
    for name in OPERATIONS
    if name.endswith(("_info", "_list", "_health", "_aliases", "_activity"))
    or name == "audit"
    or name.startswith(("spend_", "global_"))
)


def answer(database: Database, seal: Seal, asked: ManageRequest) -> ManageReply:
    """The answer, errors included. Raises nothing."""
    try:
        query = dict(parse_qsl(asked.query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS))
    except ValueError:
        return _refused(InvalidRequest("too many parameters in the query"))
    try:
        body = decode_object(asked.body) if asked.body and asked.method != "GET" else {}
        named = unquote(asked.named) if asked.named is not None else None
        reply = perform(
            database,
            asked.endpoint,
            lambda connection: actor_of(connection, asked.key_hash, asked.is_master),
            body=body,
            query=query,
            named=named,
            request_id=asked.request_id,
            seal=seal,
        )
        return ManageReply(200, [("content-type", "application/json")], _encode(reply))
    except GatewayError as error:
        return _refused(error)
    except Exception:
        log.exception("request %s failed", asked.request_id)
        return _refused(InternalError("internal error; the log has it under this request id"))


def _refused(error: GatewayError) -> ManageReply:
    return ManageReply(error.status, error_headers(error), error_body(error))


def perform(
    database: Database,
    endpoint: str,
    actor_in: Callable[[Any], Actor],
    *,
    body: Mapping[str, Any],
    query: Mapping[str, str],
    seal: Seal,
    named: str | None = None,
    request_id: str | None = None,
) -> Any:
    """One operation in one transaction. Raises GatewayError; then nothing has changed, and nothing is told."""
    operation = OPERATIONS[endpoint]

    def work(connection: Any) -> tuple[Any, Request]:
        actor = actor_in(connection)
        actor.reach(endpoint)
        request = Request(connection, endpoint, actor, body, query, named, request_id, seal)
        return operation(request), request

    reply, request = database.read(work) if endpoint in READS else database.write(work)
    if request.readings:
        database.write(lambda connection: audit.note_readings(connection, request))
    return reply
