"""What each endpoint of the management API is for, what it takes, and what it asks of a query; for its documents.

The fields themselves are those of the tables in `fields`. Nothing here is needed to serve a request.
"""

from __future__ import annotations

from dataclasses import dataclass

from routewright.management.fields import (
    BUDGET_FIELDS,
    CUSTOMER_FIELDS,
    KEY,
    MEMBER,
    MODEL_FIELDS,
    ORGANIZATION_FIELDS,
    ORGANIZATION_MEMBER,
    TEAM_FIELDS,
    USER_FIELDS,
    Table,
)

_PAGES = ("page", "size")
_DAYS = ("start_date", "end_date", "limit")


@dataclass(frozen=True, slots=True)
class About:
    """One endpoint."""

    summary: str
    table: Table | None = None
    own: tuple[str, ...] = ()
    """Fields of the endpoint itself, before those of the table."""
    required: tuple[str, ...] = ()
    query: tuple[str, ...] = ()


ABOUT: dict[str, About] = {
    "key_generate": About("Make a virtual key; the answer alone shows it", KEY),
    "key_service_account_generate": About("Make a key for a team and nobody in it", KEY, required=("team_id",)),
    "key_update": About("Change a key", KEY, required=("key",)),
    "key_bulk_update": About("Change many keys, or none", own=("keys",), required=("keys",)),
    "key_delete": About("Delete keys, by key, hash or alias", own=("keys", "key_aliases")),
    "key_regenerate": About("Another key with the same rights; the old one is void", KEY, ("new_key",)),
    "key_block": About("Refuse a key until it is unblocked", own=("key",), required=("key",)),
    "key_unblock": About("Take a blocked key again", own=("key",), required=("key",)),
    "key_health": About("Is this key good?"),
    "key_info": About("A key, or the caller's own", query=("key",)),
    "key_list": About(
        "Keys by page",
        query=(
            *_PAGES,
            "user_id",
            "team_id",
            "organization_id",
            "key_alias",
            "key_hash",
            "return_full_object",
            "sort_by",
            "sort_order",
        ),
    ),
    "key_aliases": About("Aliases of keys", query=(*_PAGES, "search")),
    "team_new": About("Make a team", TEAM_FIELDS, ("team_id",)),
    "team_update": About("Change a team", TEAM_FIELDS, ("team_id",), ("team_id",)),
    "team_delete": About("Delete teams with their keys", own=("team_ids",), required=("team_ids",)),
    "team_block": About("Refuse a team's keys", own=("team_id",), required=("team_id",)),
    "team_unblock": About("Take a blocked team's keys again", own=("team_id",), required=("team_id",)),
    "team_member_add": About("Add members", MEMBER, ("team_id", "member"), ("team_id", "member")),
    "team_member_update": About("Change a member", MEMBER, ("team_id", "user_id", "user_email"), ("team_id",)),
    "team_member_delete": About("Take a member out", own=("team_id", "user_id", "user_email"), required=("team_id",)),
    "team_model_add": About("Allow models", own=("team_id", "models"), required=("team_id", "models")),
    "team_model_delete": About("Allow models no more", own=("team_id", "models"), required=("team_id", "models")),
    "team_info": About("A team", query=("team_id",)),
    "team_list": About("Teams", query=("user_id", "organization_id")),
    "organization_new": About(
        "Make an organization", ORGANIZATION_FIELDS, ("organization_id",), ("organization_alias",)
    ),
    "organization_update": About(
        "Change an organization", ORGANIZATION_FIELDS, ("organization_id",), ("organization_id",)
    ),
    "organization_delete": About(
        "Delete organizations with their teams and keys", own=("organization_ids",), required=("organization_ids",)
    ),
    "organization_member_add": About(
        "Add members", ORGANIZATION_MEMBER, ("organization_id", "member"), ("organization_id", "member")
    ),
    "organization_member_update": About(
        "Change a member", ORGANIZATION_MEMBER, ("organization_id", "user_id", "user_email"), ("organization_id",)
    ),
    "organization_member_delete": About(
        "Take a member out", own=("organization_id", "user_id", "user_email"), required=("organization_id",)
    ),
    "organization_info": About("An organization", own=("organizations",), query=("organization_id",)),
    "organization_list": About("Organizations", query=("org_alias",)),
    "user_new": About("Make a user and a first key", USER_FIELDS, ("user_id", "teams", "auto_create_key")),
    "user_update": About("Change a user", USER_FIELDS, ("user_id",)),
    "user_delete": About("Delete users with their keys", own=("user_ids",), required=("user_ids",)),
    "user_info": About("A user, or the caller", query=("user_id",)),
    "user_list": About("Users by page", query=(*_PAGES, "role", "user_email", "user_ids")),
    "customer_new": About("Make a customer", CUSTOMER_FIELDS, ("user_id",), ("user_id",)),
    "customer_update": About("Change a customer", CUSTOMER_FIELDS, ("user_id",), ("user_id",)),
    "customer_delete": About("Delete customers", own=("user_ids",), required=("user_ids",)),
    "customer_block": About("Refuse customers", own=("user_ids",), required=("user_ids",)),
    "customer_unblock": About("Take blocked customers again", own=("user_ids",), required=("user_ids",)),
    "customer_info": About("A customer", query=("end_user_id",)),
    "customer_list": About("Customers"),
    "budget_new": About("Make a budget with a name", BUDGET_FIELDS, ("budget_id",)),
    "budget_update": About("Change a budget", BUDGET_FIELDS, ("budget_id",), ("budget_id",)),
    "budget_delete": About("Delete a budget", own=("id",), required=("id",)),
    "budget_info": About("Budgets by id", own=("budgets",), required=("budgets",)),
    "budget_list": About("Budgets"),
    "model_new": About("Add a model while serving", MODEL_FIELDS, required=("model_name", "litellm_params")),
    "model_update": About("Change a stored model", MODEL_FIELDS, required=("model_info",)),
    "model_patch": About("Change a stored model", MODEL_FIELDS),
    "model_delete": About("Delete a stored model", own=("id",), required=("id",)),
    "audit": About("Who changed what", query=(*_PAGES, "kind", "object_id", "actor", "action")),
    "user_daily_activity": About(
        "A user's days: spend, tokens, requests, by model, provider and key",
        query=(*_PAGES, *_DAYS[:2], "user_id", "model", "api_key"),
    ),
    "team_daily_activity": About("The same of teams", query=(*_PAGES, *_DAYS[:2], "team_ids", "model", "api_key")),
    "organization_daily_activity": About(
        "The same of organizations", query=(*_PAGES, *_DAYS[:2], "organization_ids", "model", "api_key")
    ),
    "global_spend": About("All that was spent"),
    "global_spend_logs": About("Spend by the day", query=(*_DAYS, "api_key")),
    "global_spend_keys": About("Keys by what they have spent, dearest first", query=_DAYS),
    "global_spend_teams": About("Teams by the day and in all", query=_DAYS),
    "global_spend_models": About("Models by what was spent at them", query=_DAYS),
    "global_spend_provider": About("Providers by what was spent at them", query=_DAYS),
    "global_activity": About("Requests and tokens by the day", query=_DAYS),
    "global_activity_model": About("The same by model", query=_DAYS),
    "spend_logs": About(
        "Calls, newest first, or their sums by the day",
        query=(
            *_DAYS,
            "api_key",
            "user_id",
            "team_id",
            "organization_id",
            "end_user",
            "model",
            "request_id",
            "summarize",
            "before",
        ),
    ),
    "spend_keys": About("Keys by what they have spent", query=_DAYS),
    "spend_users": About("Users by what they have spent", query=(*_DAYS, "user_id")),
    "spend_teams": About("Teams by what they have spent", query=(*_DAYS, "team_id")),
    "spend_tags": About("Tags by what was spent under them", query=(*_DAYS, "tags")),
    "spend_report": About(
        "Spend by the day and by team, customer, internal_user, api_key, model or organization",
        query=(*_DAYS[:2], "group_by", "team_id", "organization_id", "customer_id", "internal_user_id", "api_key"),
    ),
}
