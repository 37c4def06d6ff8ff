"""The fields of the management API: each one's type, its column, and who may write it. The one table of all of that.

A field that is not in a kind's table is refused. One whose `column` is `extra` is kept and read back, and nothing acts
on it. `MAKERS` may set a field on what they may touch at all (see `rights`), within what they have themselves.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from routewright.errors import InvalidRequest, MissingField, PermissionDenied, clean_text
from routewright.management.durations import is_duration
from routewright.types import NUSD_PER_USD

MAX_TEXT = 256
MAX_LONG_TEXT = 4096
MAX_NAMES = 1000
MAX_USD = 1e9
MAX_LIMIT = 2**53
MAX_ANYTHING_BYTES = 64 * 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ID = re.compile(r"[\x21-\x7e]{1,256}\Z")

ADMIN = "proxy_admin"
VIEWER = "proxy_admin_viewer"
ORG_ADMIN = "org_admin"
USER = "internal_user"
USER_VIEWER = "internal_user_viewer"
TEAM = "team"
CUSTOMER = "customer"
TEAM_ADMIN = "team_admin"
"""Not a role of LiteLLM's users: a user who is `admin` among a team's members, towards that team."""
ROLES = (ADMIN, VIEWER, ORG_ADMIN, USER, USER_VIEWER, TEAM, CUSTOMER)

ADMINS = frozenset({ADMIN})
MAKERS = frozenset({ADMIN, TEAM_ADMIN, USER})
LEADERS = frozenset({ADMIN, TEAM_ADMIN})
GOVERNORS = frozenset({ADMIN, ORG_ADMIN})
"""`org_admin` here is one who is it among the members of an organization, towards that organization's things."""

Reader = Callable[[Any, str], Any]


def _wrong(name: str, expected: str) -> InvalidRequest:
    return InvalidRequest(f"{name}: expected {expected}", param=name)


def text(value: Any, name: str, most: int = MAX_TEXT) -> str:
    """No control character, so none in logs or headers either, and no NUL in a database."""
    if not isinstance(value, str) or not value or len(value) > most or _CONTROL.search(value):
        raise _wrong(name, f"1 to {most} characters without control characters")
    return value


def identity(value: Any, name: str) -> str:
    """An id that its caller chose."""
    if not isinstance(value, str) or not _ID.match(value):
        raise _wrong(name, "1 to 256 visible ASCII characters")
    return value


def flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, "true or false")
    return value


def whole(value: Any, name: str) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_LIMIT:
        raise _wrong(name, "a whole number, 0 or more")
    return value


def dollars(value: Any, name: str) -> int:
    """US dollars, as whole nano-dollars."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_USD:
        raise _wrong(name, "US dollars, 0 or more")
    return round(value * NUSD_PER_USD)


def duration(value: Any, name: str) -> str:
    found = text(value, name)
    if not is_duration(found):
        raise _wrong(name, "a duration such as 30s, 15m, 12h, 30d, 2w or 1mo")
    return found


def names(value: Any, name: str) -> list[str]:
    if not isinstance(value, list) or len(value) > MAX_NAMES:
        raise _wrong(name, f"a list of at most {MAX_NAMES} names")
    return list(dict.fromkeys(text(entry, name) for entry in value))


def anything(value: Any, name: str) -> Any:
    """JSON that means something to others; bounded, and without what Postgres can't hold."""
    size = _size(value, name)
    if size > MAX_ANYTHING_BYTES:
        raise _wrong(name, f"at most {MAX_ANYTHING_BYTES} bytes")
    return value


def _size(value: Any, name: str) -> int:
    if isinstance(value, str):
        if "\0" in value:
            raise _wrong(name, "text without NUL")
        return len(value) + 2
    if isinstance(value, list):
        return 2 + sum(_size(entry, name) + 1 for entry in value)
    if isinstance(value, dict):
        return 2 + sum(_size(key, name) + _size(entry, name) + 2 for key, entry in value.items())
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong(name, "finite numbers")
    return 24


def mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(name, "an object")
    found: dict[str, Any] = anything(value, name)
    return found


def names_to_names(value: Any, name: str) -> dict[str, str]:
    return {text(key, name): text(entry, name) for key, entry in mapping(value, name).items()}


def names_to_limits(value: Any, name: str) -> dict[str, int]:
    return {text(key, name): whole(entry, name) for key, entry in mapping(value, name).items()}


def names_to_budgets(value: Any, name: str) -> dict[str, dict[str, Any]]:
    """LiteLLM's two forms: `{model: 10.0}`, and `{model: {"budget_limit": 10.0, "time_period": "1d"}}`."""
    found: dict[str, dict[str, Any]] = {}
    for model, entry in mapping(value, name).items():
        if not isinstance(entry, dict):
            entry = {"max_budget": entry}
        amount = entry.get("max_budget", entry.get("budget_limit"))
        period = entry.get("budget_duration", entry.get("time_period"))
        found[text(model, name)] = {
            "max_budget_nusd": dollars(amount, name),
            "budget_duration": None if period is None else duration(period, name),
        }
    return found


def one_of(*allowed: str) -> Reader:
    def read(value: Any, name: str) -> str:
        if value not in allowed or not isinstance(value, str):
            raise _wrong(name, "one of " + ", ".join(allowed))
        return value

    return read


def time_ms(value: Any, name: str) -> int:
    """An ISO time, as milliseconds since 1970."""
    try:
        found = datetime.fromisoformat(text(value, name))
    except ValueError:
        raise _wrong(name, "a time such as 2026-12-31T00:00:00Z") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a request."""

    read: Reader
    writers: frozenset[str]
    column: str = ""
    """Where it is kept; empty: under its own name; `extra`: there; `-`: the operation itself deals with it."""
    about: str = ""


Table = Mapping[str, Field]


def _kept(read: Reader = anything, writers: frozenset[str] = ADMINS) -> Field:
    return Field(read, writers, "extra", "kept and read back; nothing acts on it")


_LIMITS: dict[str, Field] = {
    "rpm_limit": Field(whole, MAKERS, about="requests a minute"),
    "tpm_limit": Field(whole, MAKERS, about="tokens a minute"),
    "max_parallel_requests": Field(whole, MAKERS, about="requests at the same time"),
}
_MODEL_LIMITS: dict[str, Field] = {
    "model_rpm_limit": Field(names_to_limits, MAKERS, about="requests a minute by model"),
    "model_tpm_limit": Field(names_to_limits, MAKERS, about="tokens a minute by model"),
    "model_max_budget": Field(names_to_budgets, MAKERS, about="budget by model"),
}
_BUDGET: dict[str, Field] = {
    "max_budget": Field(dollars, MAKERS, "max_budget_nusd", "US dollars"),
    "soft_budget": Field(dollars, MAKERS, "soft_budget_nusd", "US dollars; crossing it raises an alert"),
    "budget_duration": Field(duration, MAKERS, about="the budget's window: `30s`, `12h`, `30d`, `1mo`"),
    "budget_id": Field(identity, ADMINS, about="a budget with a name, for what is not set here"),
    "spend": Field(dollars, ADMINS, "spend_before_nusd", "US dollars spent before the ledger began"),
}


def _only(writers: frozenset[str], fields: Mapping[str, Field]) -> dict[str, Field]:
    return {name: Field(field.read, writers, field.column, field.about) for name, field in fields.items()}


KEY: Table = {
    "key_alias": Field(text, MAKERS, about="a name for people; unique"),
    "duration": Field(duration, MAKERS, "-", "time until it expires"),
    "models": Field(names, MAKERS, about="names and wildcards; empty is all"),
    "aliases": Field(names_to_names, MAKERS, about="names of its own for models"),
    "user_id": Field(identity, LEADERS, about="whose it is"),
    "team_id": Field(identity, MAKERS, about="the team it belongs to"),
    "organization_id": Field(identity, GOVERNORS, about="the organization it belongs to; else its team's"),
    **_LIMITS,
    **_MODEL_LIMITS,
    **_BUDGET,
    "temp_budget_increase": Field(dollars, ADMINS, "temp_budget_increase_nusd", "US dollars more, for a time"),
    "temp_budget_expiry": Field(time_ms, ADMINS, "temp_budget_expires_at_ms", "until then"),
    "metadata": Field(mapping, MAKERS),
    "tags": Field(names, MAKERS, about="put on every call's record"),
    "allowed_routes": Field(names, MAKERS, about="paths, or llm_api_routes, management_routes, info_routes"),
    "key_type": Field(one_of("default", "llm_api", "management", "read_only"), MAKERS),
    "blocked": Field(flag, LEADERS),
    "key": Field(text, ADMINS, "-", "the key itself, where it must be a known one"),
    "permissions": _kept(mapping),
    "config": _kept(mapping),
    "guardrails": Field(names, ADMINS, "extra", "names of guardrails that look at all of its requests"),
    "policies": _kept(names),
    "prompts": _kept(names),
    "rpm_limit_type": _kept(text),
    "tpm_limit_type": _kept(text),
    "allowed_cache_controls": Field(names, ADMINS, "extra", "what its requests may ask of the cache; empty is all"),
    "allowed_passthrough_routes": _kept(),
    "object_permission": _kept(),
    "enforced_params": _kept(),
    "auto_rotate": _kept(flag),
    "rotation_interval": _kept(duration),
    "router_settings": _kept(),
    "send_invite_email": _kept(flag, MAKERS),
}
TEAM_FIELDS: Table = {
    "team_alias": Field(text, LEADERS),
    "organization_id": Field(identity, GOVERNORS, about="the organization it belongs to"),
    "members_with_roles": Field(anything, GOVERNORS, "-", "a list of `{role, user_id or user_email}`"),
    "models": Field(names, GOVERNORS, about="names and wildcards; empty is all; `all-org-models`"),
    "model_aliases": Field(names_to_names, GOVERNORS),
    **_only(GOVERNORS, _LIMITS),
    **_only(GOVERNORS, _MODEL_LIMITS),
    **_only(GOVERNORS, _BUDGET),
    "budget_id": _BUDGET["budget_id"],
    "spend": _BUDGET["spend"],
    "team_member_budget": Field(dollars, GOVERNORS, "team_member_budget_nusd", "US dollars for each member"),
    "team_member_rpm_limit": Field(whole, GOVERNORS),
    "team_member_tpm_limit": Field(whole, GOVERNORS),
    "team_member_key_duration": Field(duration, GOVERNORS),
    "metadata": Field(mapping, LEADERS),
    "tags": Field(names, LEADERS),
    "blocked": Field(flag, GOVERNORS),
    "guardrails": Field(names, ADMINS, "extra", "names of guardrails that look at all of its keys' requests"),
    "policies": _kept(),
    "prompts": _kept(),
    "object_permission": _kept(),
    "router_settings": _kept(),
    "team_member_permissions": _kept(),
    "allowed_passthrough_routes": _kept(),
    "secret_manager_settings": _kept(),
}
MEMBER: Table = {
    "role": Field(one_of("admin", "user"), GOVERNORS, about="`admin` may manage the team's keys and members"),
    "max_budget_in_team": Field(dollars, LEADERS, "max_budget_nusd", "US dollars in this team"),
    "budget_duration": Field(duration, LEADERS),
    "rpm_limit": Field(whole, LEADERS),
    "tpm_limit": Field(whole, LEADERS),
}
ORGANIZATION_FIELDS: Table = {
    "organization_alias": Field(text, GOVERNORS),
    "models": Field(names, ADMINS, about="names and wildcards that its keys may use at all; empty is all"),
    **_only(ADMINS, _LIMITS),
    **_only(ADMINS, _MODEL_LIMITS),
    **_only(ADMINS, _BUDGET),
    "metadata": Field(mapping, GOVERNORS),
    "blocked": Field(flag, ADMINS, about="refuses all of its keys"),
    "model_aliases": _kept(),
    "tags": _kept(names),
    "object_permission": _kept(),
}
ORGANIZATION_MEMBER: Table = {
    "role": Field(one_of(ORG_ADMIN, USER, USER_VIEWER), GOVERNORS, "user_role", "`org_admin` governs it"),
    "max_budget_in_organization": Field(dollars, GOVERNORS, "max_budget_nusd", "US dollars of this member's calls"),
}
USER_FIELDS: Table = {
    "user_email": Field(text, ADMINS),
    "user_alias": Field(text, MAKERS),
    "user_role": Field(one_of(*ROLES), ADMINS),
    "models": Field(names, ADMINS, about="names and wildcards; empty is all, `no-default-models` is none"),
    **_only(ADMINS, _LIMITS),
    **_only(ADMINS, _MODEL_LIMITS),
    **_only(ADMINS, _BUDGET),
    "metadata": Field(mapping, ADMINS),
    "organizations": Field(names, ADMINS, "-", "ids of the organizations that a new user is to be in"),
    "sso_user_id": _kept(text),
    "object_permission": _kept(),
    "send_invite_email": _kept(flag),
}
CUSTOMER_FIELDS: Table = {
    "alias": Field(text, ADMINS),
    "blocked": Field(flag, ADMINS),
    "default_model": Field(text, ADMINS),
    **_only(ADMINS, _LIMITS),
    **_only(ADMINS, _BUDGET),
    "allowed_model_region": Field(text, ADMINS, "extra", "with enable_pre_call_checks: its requests stay there"),
    "object_permission": _kept(),
}
BUDGET_FIELDS: Table = {
    "max_budget": Field(dollars, ADMINS, "max_budget_nusd", "US dollars"),
    "soft_budget": Field(dollars, ADMINS, "soft_budget_nusd", "US dollars; crossing it raises an alert"),
    "budget_duration": Field(duration, ADMINS),
    **_only(ADMINS, _LIMITS),
    "model_max_budget": Field(names_to_budgets, ADMINS),
}
MODEL_FIELDS: Table = {
    "model_name": Field(text, ADMINS, about="the name that clients ask for"),
    "litellm_params": Field(mapping, ADMINS, "-", "provider, credential, price: as in `model_list`"),
    "model_info": Field(mapping, ADMINS, "info"),
}
TABLES: dict[str, Table] = {
    "key": KEY,
    "team": TEAM_FIELDS,
    "member": MEMBER,
    "organization": ORGANIZATION_FIELDS,
    "organization_member": ORGANIZATION_MEMBER,
    "user": USER_FIELDS,
    "customer": CUSTOMER_FIELDS,
    "budget": BUDGET_FIELDS,
    "model": MODEL_FIELDS,
}


class Written(dict[str, Any]):
    """Columns of a row as a request wants them. `given` are the names of the fields that were in it."""

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, Any] = {}
        """Field -> value as it was read, for those that an operation itself deals with too."""
        self.extra: dict[str, Any] = {}


def read_fields(
    table: Table, body: Mapping[str, Any], roles: frozenset[str], *, known: frozenset[str] = frozenset(),
    keeps_nulls: bool = False,
) -> Written:  # fmt: skip
    """The fields of `body` as columns. `known` are those of the endpoint itself, such as the id of what is written.

    `roles`: what the caller is towards the object; one of them has to be among a field's writers. Null means unset: it
    is passed over where something is made, and clears a field where something is changed (`keeps_nulls`).
    """
    written = Written()
    for name, value in body.items():
        if name in known:
            continue
        field = table.get(name)
        if field is None:
            near = difflib.get_close_matches(name, [*table, *known], n=1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise InvalidRequest(f'unknown field "{clean_text(name)[:64]}"{hint}', param=clean_text(name)[:64])
        if value is None and not keeps_nulls:
            continue
        if roles.isdisjoint(field.writers):
            raise PermissionDenied(f'your role may not set "{name}"', param=name)
        read = None if value is None else field.read(value, name)
        written.given[name] = read
        if field.column == "extra":
            written.extra[name] = read
        elif field.column != "-":
            written[field.column or name] = read
    return written


def required(body: Mapping[str, Any], name: str, read: Reader = text) -> Any:
    """A field that an endpoint can't do without. Raises MissingField."""
    if body.get(name) is None:
        raise MissingField(f"{name} is required", param=name)
    return read(body[name], name)
