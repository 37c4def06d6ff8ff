"""R3, T11: every role, every endpoint, every field. What is not listed here is a 403, and changes nothing.

The lists are written out here rather than taken from the tables that they check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from management.conftest import Desk
from routewright.errors import GatewayError, NotFound, PermissionDenied
from routewright.management.about import ABOUT
from routewright.management.rights import MAY

ROLES = ("proxy_admin", "proxy_admin_viewer", "org_admin", "internal_user", "internal_user_viewer", "team", "customer",
         "team_admin")  # fmt: skip

# --- who may call what ---------------------------------------------------------------------------------------------

READS = {"key_info", "key_health", "key_list", "key_aliases", "team_info", "team_list", "user_info", "user_list",
         "organization_info", "organization_list", "organization_daily_activity",
         "customer_info", "customer_list", "budget_info", "budget_list", "audit", "spend_logs",
         "spend_keys", "spend_users", "spend_teams",
         "spend_tags", "spend_report", "user_daily_activity", "team_daily_activity",
         "global_spend", "global_spend_logs", "global_spend_keys", "global_spend_teams", "global_spend_models",
         "global_spend_provider", "global_activity", "global_activity_model"}  # fmt: skip
OF_OWN_THINGS = {"key_info", "key_health", "key_list", "key_aliases", "team_info", "team_list", "user_info",
                 "spend_logs", "spend_keys", "user_daily_activity", "team_daily_activity", "organization_info",
                 "organization_list", "organization_daily_activity"}  # fmt: skip
OWN_KEYS = {"key_generate", "key_service_account_generate", "key_update", "key_delete", "key_regenerate", "key_block",
            "key_unblock"}  # fmt: skip
OWN_TEAM = {"team_update", "team_member_add", "team_member_update", "team_member_delete"}
GOVERNED = {"team_new", "team_delete", "team_block", "team_unblock", "team_model_add", "team_model_delete",
            "organization_update", "organization_member_add", "organization_member_update",
            "organization_member_delete"}  # fmt: skip
MAY_CALL: dict[str, set[str]] = {
    "proxy_admin": set(MAY),
    "proxy_admin_viewer": READS,
    "org_admin": OF_OWN_THINGS | OWN_KEYS | OWN_TEAM | GOVERNED | {"user_update"},
    "internal_user": OF_OWN_THINGS | OWN_KEYS | OWN_TEAM | {"user_update"},
    "team_admin": OF_OWN_THINGS | OWN_KEYS | OWN_TEAM | {"user_update"},
    "internal_user_viewer": OF_OWN_THINGS,
    "team": {"key_info", "key_health", "spend_logs"},
    "customer": {"key_info", "key_health", "spend_logs"},
}

# --- who may write what, towards something of their own ------------------------------------------------------------

OWN_KEY_FIELDS = {
    "key_alias", "duration", "models", "aliases", "team_id", "rpm_limit", "tpm_limit", "max_parallel_requests",
    "model_rpm_limit", "model_tpm_limit", "model_max_budget", "max_budget", "soft_budget", "budget_duration",
    "metadata", "tags", "allowed_routes", "key_type", "send_invite_email",
}  # fmt: skip
LED_KEY_FIELDS = OWN_KEY_FIELDS | {"user_id", "blocked"}
LED_TEAM_FIELDS = {"team_alias", "metadata", "tags"}
GOVERNED_TEAM_FIELDS = LED_TEAM_FIELDS | {
    "organization_id", "members_with_roles", "models", "model_aliases", "rpm_limit", "tpm_limit",
    "max_parallel_requests", "model_rpm_limit", "model_tpm_limit", "model_max_budget", "max_budget", "soft_budget",
    "budget_duration", "team_member_budget", "team_member_rpm_limit", "team_member_tpm_limit",
    "team_member_key_duration", "blocked",
}  # fmt: skip
LED_MEMBER_FIELDS = {"max_budget_in_team", "budget_duration", "rpm_limit", "tpm_limit"}
MAY_WRITE: dict[tuple[str, str], set[str]] = {
    ("internal_user", "key_generate"): OWN_KEY_FIELDS | {"user_id"},  # itself alone, see below
    ("internal_user", "key_update"): OWN_KEY_FIELDS,
    ("internal_user", "key_regenerate"): OWN_KEY_FIELDS,
    ("internal_user", "user_update"): {"user_alias"},
    ("team_admin", "key_generate"): LED_KEY_FIELDS,
    ("team_admin", "key_service_account_generate"): LED_KEY_FIELDS - {"user_id"},
    ("team_admin", "key_update"): LED_KEY_FIELDS,
    ("team_admin", "key_regenerate"): LED_KEY_FIELDS,
    ("team_admin", "user_update"): {"user_alias"},
    ("team_admin", "team_update"): LED_TEAM_FIELDS,
    ("team_admin", "team_member_add"): LED_MEMBER_FIELDS,
    ("team_admin", "team_member_update"): LED_MEMBER_FIELDS,
    ("org_admin", "key_generate"): OWN_KEY_FIELDS | {"user_id", "organization_id"},  # its own, of either
    ("org_admin", "key_update"): OWN_KEY_FIELDS,
    ("org_admin", "key_regenerate"): OWN_KEY_FIELDS,
    ("org_admin", "user_update"): {"user_alias"},
    ("org_admin", "team_new"): GOVERNED_TEAM_FIELDS,
    ("org_admin", "team_update"): GOVERNED_TEAM_FIELDS,
    ("org_admin", "team_member_add"): LED_MEMBER_FIELDS | {"role"},
    ("org_admin", "team_member_update"): LED_MEMBER_FIELDS | {"role"},
    ("org_admin", "organization_update"): {"organization_alias", "metadata"},
    ("org_admin", "organization_member_add"): {"role", "max_budget_in_organization"},
    ("org_admin", "organization_member_update"): {"role", "max_budget_in_organization"},
}

SAMPLES: dict[str, Any] = {
    "duration": "1d", "models": ["gpt-4o"], "aliases": {"a": "gpt-4o"}, "model_aliases": {"a": "gpt-4o"},
    "rpm_limit": 1, "tpm_limit": 10, "max_parallel_requests": 1, "model_rpm_limit": {"gpt-4o": 1},
    "model_tpm_limit": {"gpt-4o": 1}, "model_max_budget": {"gpt-4o": 1.0}, "max_budget": 1.0, "soft_budget": 1.0,
    "budget_duration": "30d", "spend": 0.0, "temp_budget_increase": 1.0, "temp_budget_expiry": "2030-01-01T00:00:00Z",
    "metadata": {"a": 1}, "tags": ["t"], "allowed_routes": ["llm_api_routes"], "key_type": "llm_api", "blocked": True,
    "permissions": {}, "config": {}, "guardrails": ["g"], "policies": ["p"], "prompts": ["p"],
    "auto_rotate": True, "rotation_interval": "30d", "send_invite_email": False, "role": "admin",
    "max_budget_in_organization": 1.0, "organization_id": "org", "max_budget_in_team": 1.0,
    "user_role": "proxy_admin", "organizations": ["org"], "team_member_budget": 1.0,
    "team_member_rpm_limit": 1, "team_member_tpm_limit": 1, "team_member_key_duration": "30d",
    "members_with_roles": [], "user_email": "someone@example.com", "litellm_params": {"model": "openai/x"},
    "model_info": {"mode": "chat"}, "team_id": "led", "user_id": "plain", "key": "sk-a-key-that-somebody-chose-1",
}  # fmt: skip


class World:
    """One of each role with a key, a team that `team_admin` leads, and things that are somebody else's."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        desk.ask("budget_new", {"budget_id": "b"})
        for team_id in ("led", "other"):
            desk.ask("team_new", {"team_id": team_id})
        for organization_id in ("org", "other-org"):
            desk.ask("organization_new", {"organization_id": organization_id, "organization_alias": organization_id})
        desk.ask("team_new", {"team_id": "governed", "organization_id": "org"})
        desk.ask("team_new", {"team_id": "of-others", "organization_id": "other-org"})
        self.keys: dict[str, str] = {}
        for role in ROLES:
            if role == "team":
                self.keys[role] = desk.key(team_id="led")
                continue
            desk.user(role, "internal_user" if role == "team_admin" else role)
            self.keys[role] = desk.key(user_id=role)
        for user_id in ("plain", "fresh", "stranger"):
            desk.user(user_id, "internal_user")
        members = [{"user_id": "team_admin", "role": "admin"}, {"user_id": "internal_user"}, {"user_id": "plain"},
                   {"user_id": "org_admin"}]  # fmt: skip
        desk.ask("team_member_add", {"team_id": "led", "member": members})
        desk.ask("team_member_add", {"team_id": "governed", "member": [{"user_id": "plain"}]})
        members = [{"user_id": "org_admin", "role": "org_admin"}, {"user_id": "plain"}, {"user_id": "internal_user"}]
        desk.ask("organization_member_add", {"organization_id": "org", "member": members})
        self.other_key = desk.key(user_id="stranger", team_id="other")
        self.victims = 0
        self.why = ""

    def target(self, role: str) -> str:
        """A key that is the role's own to change: its user's, or one of the team that it leads."""
        if role == "team_admin":
            return self.desk.key(user_id="plain", team_id="led")
        return self.desk.key(**({"team_id": "led"} if role == "team" else {"user_id": role}))

    def body(self, endpoint: str, role: str) -> dict[str, Any]:
        """The least that the endpoint takes, about something that is the role's own where it can be."""
        self.victims += 1
        team_id = "governed" if role in ("org_admin", "proxy_admin") else "led"
        if endpoint.startswith("organization_"):
            return self.about_organization(endpoint)
        if endpoint == "key_generate":
            return {"team_id": "led", "user_id": "plain"} if role == "team_admin" else {}
        if endpoint == "key_service_account_generate":
            return {"team_id": "led"}
        if endpoint in ("key_update", "key_regenerate", "key_block", "key_unblock"):
            return {"key": self.target(role)}
        if endpoint == "key_bulk_update":
            return {"keys": [{"key": self.target(role)}]}
        if endpoint == "key_delete":
            return {"keys": [self.target(role)]}
        if endpoint == "team_member_add":
            user_id = f"new-{self.victims}"
            self.desk.user(user_id, "internal_user")
            return {"team_id": team_id, "member": {"user_id": user_id}}
        if endpoint == "team_member_update":
            return {"team_id": team_id, "user_id": "plain"}
        if endpoint == "team_member_delete":
            user_id = f"old-{self.victims}"
            self.desk.user(user_id, "internal_user")
            self.desk.ask("team_member_add", {"team_id": team_id, "member": {"user_id": user_id}})
            return {"team_id": team_id, "user_id": user_id}
        if endpoint == "team_new":
            return {"organization_id": "org"} if role == "org_admin" else {}
        if endpoint == "team_delete":
            victim = f"team-{self.victims}"
            self.desk.ask("team_new", {"team_id": victim, "organization_id": "org"})
            return {"team_ids": [victim]}
        if endpoint.startswith("team_model"):
            return {"team_id": team_id, "models": ["gpt-4o"]}
        if endpoint.startswith("team_"):
            return {"team_id": team_id}
        if endpoint == "user_new":
            return {"user_id": f"made-{self.victims}", "auto_create_key": False}
        if endpoint == "user_update":
            return {"user_id": role}
        if endpoint in ("user_delete",):
            return {"user_ids": ["stranger-2"]}
        if endpoint in ("customer_new", "customer_update"):
            return {"user_id": f"customer-{self.victims}"}
        if endpoint.startswith("customer_"):
            return {"user_ids": ["a-customer"]}
        if endpoint == "model_new":
            return {"model_name": "m", "litellm_params": {"model": "openai/m"}}
        if endpoint == "model_update":
            return {"model_info": {"id": "no-such"}}
        if endpoint == "budget_info":
            return {"budgets": ["b"]}
        return {"id": "no-such", "budget_id": "b"} if endpoint == "budget_update" else {"id": "no-such"}

    def about_organization(self, endpoint: str) -> dict[str, Any]:
        user_id = f"member-{self.victims}"
        if endpoint == "organization_new":
            return {"organization_alias": user_id}
        if endpoint == "organization_delete":
            self.desk.ask("organization_new", {"organization_alias": user_id, "organization_id": user_id})
            return {"organization_ids": [user_id]}
        if endpoint == "organization_update":
            return {"organization_id": "org"}
        self.desk.user(user_id, "internal_user")
        if endpoint == "organization_member_add":
            return {"organization_id": "org", "member": {"user_id": user_id}}
        self.desk.ask("organization_member_add", {"organization_id": "org", "member": {"user_id": user_id}})
        return {"organization_id": "org", "user_id": user_id}

    def outcome(self, endpoint: str, role: str, body: dict[str, Any]) -> str:
        """`refused` for a 403, else `passed`: nothing the role lacks stood in the way."""
        if endpoint in READS and endpoint != "budget_info":
            body = {}
        try:
            self.desk.ask(endpoint, body, by=self.keys[role], named="no-such" if endpoint == "model_patch" else None)
        except PermissionDenied as error:
            self.why = error.message
            return "refused"
        except GatewayError as error:
            if error.status not in (400, 404, 409):
                raise
        return "passed"


@pytest.fixture(scope="module")
def world(new_desk: Callable[[], Desk]) -> World:
    return World(new_desk())


@pytest.mark.parametrize("role", ROLES)
def test_every_endpoint(world: World, role: str) -> None:
    for endpoint in MAY:
        outcome = world.outcome(endpoint, role, world.body(endpoint, role))
        if endpoint not in MAY_CALL[role]:
            assert outcome == "refused", endpoint
        elif endpoint in READS or role == "proxy_admin":
            assert outcome == "passed", endpoint


def fields_of(endpoint: str) -> Iterator[str]:
    about = ABOUT[endpoint]
    for name in about.table or ():
        is_named = (endpoint, name) in (("key_regenerate", "key"), ("key_service_account_generate", "user_id"))
        if name not in about.required and not is_named:
            yield name


@pytest.mark.parametrize("role", ROLES)
def test_every_field_of_every_endpoint(world: World, role: str) -> None:
    for endpoint in MAY:
        for name in fields_of(endpoint):
            body = world.body(endpoint, role)
            body.setdefault(name, SAMPLES.get(name, "some-text"))
            if name == "user_id" and endpoint == "key_generate" and role not in ("team_admin", "proxy_admin"):
                body[name] = role
            outcome = world.outcome(endpoint, role, body)
            allowed = role == "proxy_admin" or name in MAY_WRITE.get((role, endpoint), ())
            assert outcome == ("passed" if allowed else "refused"), (endpoint, name, world.why)


def test_nobody_reaches_what_is_somebody_else_s(world: World) -> None:
    desk = world.desk
    for role in ("internal_user", "team_admin", "org_admin"):
        by = world.keys[role]
        for endpoint in ("key_update", "key_block", "key_regenerate"):
            with pytest.raises(NotFound):  # not even that it is there is told
                desk.ask(endpoint, {"key": world.other_key}, by=by)
        with pytest.raises(NotFound):
            desk.ask("key_delete", {"keys": [world.other_key]}, by=by)
        with pytest.raises(NotFound):
            desk.ask("key_info", by=by, key=world.other_key)
        for endpoint, body in (
            ("team_update", {"team_id": "other", "team_alias": "mine"}),
            ("team_member_add", {"team_id": "other", "member": {"user_id": role}}),
            ("user_update", {"user_id": "stranger", "user_alias": "mine"}),
            ("key_generate", {"user_id": "stranger"}),
            ("key_generate", {"team_id": "other"}),
            ("key_generate", {"user_id": "stranger", "team_id": "led"}),
            ("key_generate", {"user_id": "proxy_admin", "team_id": "led"}),
            ("key_generate", {"organization_id": "other-org"}),
            ("team_update", {"team_id": "of-others", "team_alias": "mine"}),
            ("team_new", {}),
            ("team_new", {"organization_id": "other-org"}),
            ("team_delete", {"team_ids": ["of-others"]}),
            ("team_block", {"team_id": "of-others"}),
            ("organization_update", {"organization_id": "other-org", "organization_alias": "mine"}),
            ("organization_member_add", {"organization_id": "other-org", "member": {"user_id": role}}),
            ("organization_daily_activity", {}),
        ):
            query = {"organization_ids": "other-org"} if endpoint == "organization_daily_activity" else {}
            with pytest.raises(PermissionDenied):
                desk.ask(endpoint, body, by=by, **query)
        with pytest.raises(NotFound):
            desk.ask("organization_info", by=by, organization_id="other-org")
        listed = desk.ask("key_list", by=by, size="500", return_full_object="true")["keys"]
        seen = {(entry["user_id"], entry["team_id"], entry["organization_id"]) for entry in listed}
        for user, team, organization in seen:
            is_theirs = user == role or (role == "team_admin" and team == "led")
            assert is_theirs or (role == "org_admin" and organization == "org"), seen


def test_leader_of_a_team_can_not_speak_for_an_administrator_in_it(world: World) -> None:
    """CVE-2026-47101's kin: a key whose user is an administrator is an administrator's key."""
    desk = world.desk
    desk.ask("team_member_add", {"team_id": "led", "member": [{"user_id": "proxy_admin"}]})
    by = world.keys["team_admin"]
    with pytest.raises(PermissionDenied):
        desk.ask("key_generate", {"team_id": "led", "user_id": "proxy_admin"}, by=by)
    own = desk.key(team_id="led", user_id="plain")
    with pytest.raises(PermissionDenied):
        desk.ask("key_update", {"key": own, "user_id": "proxy_admin"}, by=by)


def test_key_for_one_team_speaks_for_that_team_alone(world: World) -> None:
    desk = world.desk
    desk.user("two-teams", "internal_user")
    for team_id in ("led", "other"):
        desk.ask("team_member_add", {"team_id": team_id, "member": {"user_id": "two-teams", "role": "admin"}})
    of_one = desk.key(user_id="two-teams", team_id="led")
    with pytest.raises(PermissionDenied):
        desk.ask("team_update", {"team_id": "other", "team_alias": "x"}, by=of_one)
    with pytest.raises(NotFound):
        desk.ask("key_info", by=of_one, key=desk.key(user_id="two-teams", team_id="other"))
    with pytest.raises(PermissionDenied):
        desk.ask("key_generate", {"team_id": "other"}, by=of_one)


# --- a key never grants more than its maker has --------------------------------------------------------------------

WIDER: dict[str, list[Any]] = {
    "models": [["gpt-4o"], ["*"], ["gpt-4o-mini", "o3"], [], ["all-proxy-models"], ["gpt-4*"]],
    "rpm_limit": [11, 10**9],
    "tpm_limit": [1001],
    "max_parallel_requests": [3],
    "max_budget": [5.01],
    "budget_duration": ["1d"],
    "duration": ["31d", "1mo"],
    "key_type": ["management"],
    "allowed_routes": [["/embeddings", "/audit"], ["*"]],
    "model_rpm_limit": [{"gpt-4o-mini": 3}],
    "model_tpm_limit": [{"gpt-4o-mini": 21}],
    "model_max_budget": [{"gpt-4o-mini": {"budget_limit": 2.0, "time_period": "1d"}},
                         {"gpt-4o-mini": {"budget_limit": 1.0, "time_period": "1h"}}],
}  # fmt: skip


@pytest.fixture(scope="module")
def narrow(world: World) -> str:
    """A key that may make keys, and has a bound on everything."""
    world.desk.user("maker", "internal_user")
    return world.desk.key(
        user_id="maker", models=["gpt-4o-mini", "claude-*"], rpm_limit=10, tpm_limit=1000, max_parallel_requests=2,
        max_budget=5.0, budget_duration="30d", duration="30d", model_rpm_limit={"gpt-4o-mini": 2},
        model_tpm_limit={"gpt-4o-mini": 20},
        model_max_budget={"gpt-4o-mini": {"budget_limit": 1.0, "time_period": "1d"}},
        allowed_routes=["/key/generate", "/key/update", "/key/regenerate", "/chat/completions", "/embeddings"],
    )  # fmt: skip


@pytest.mark.parametrize(("field", "value"), [(name, value) for name, values in WIDER.items() for value in values])
def test_no_key_is_wider_than_its_maker_s(world: World, narrow: str, field: str, value: Any) -> None:
    desk = world.desk
    is_unset_models = field == "models" and value == []
    if not is_unset_models:  # nothing said is filled in from the maker's, see below
        with pytest.raises(PermissionDenied):
            desk.ask("key_generate", {field: value}, by=narrow)
    if field == "key_type":
        return  # the routes that a key has already stay as narrow as they are
    made = desk.ask("key_generate", {}, by=narrow)["key"]
    with pytest.raises(PermissionDenied):
        desk.ask("key_update", {"key": made, field: value}, by=narrow)
    for endpoint in ("key_update", "key_regenerate"):
        with pytest.raises(PermissionDenied):
            desk.ask(endpoint, {"key": narrow, field: value}, by=narrow)


@pytest.mark.parametrize("field", ["rpm_limit", "tpm_limit", "max_parallel_requests", "max_budget", "models",
                                   "duration", "allowed_routes", "model_rpm_limit", "model_max_budget"])  # fmt: skip
def test_bound_is_not_taken_off_by_null(world: World, narrow: str, field: str) -> None:
    made = world.desk.ask("key_generate", {}, by=narrow)["key"]
    for key in (made, narrow):
        with pytest.raises(PermissionDenied):
            world.desk.ask("key_update", {"key": key, field: None}, by=narrow)


def test_what_is_not_said_is_as_the_maker_s(world: World, narrow: str) -> None:
    made = world.desk.ask("key_generate", {}, by=narrow)
    assert made["models"] == ["gpt-4o-mini", "claude-*"]
    assert (made["rpm_limit"], made["tpm_limit"], made["max_parallel_requests"]) == (10, 1000, 2)
    assert (made["max_budget"], made["budget_duration"], made["user_id"]) == (5.0, "30d", "maker")
    assert made["expires"] is not None
    assert made["allowed_routes"] == [
        "/key/generate", "/key/update", "/key/regenerate", "/chat/completions", "/embeddings",
    ]  # fmt: skip


def test_narrower_keys_are_made(world: World, narrow: str) -> None:
    made = world.desk.ask(
        "key_generate",
        {"models": ["claude-3-haiku", "claude-3-*"], "rpm_limit": 1, "max_budget": 1.0, "budget_duration": "30d",
         "allowed_routes": ["/chat/completions"], "duration": "1d"},
        by=narrow,
    )  # fmt: skip
    assert (made["models"], made["rpm_limit"]) == (["claude-3-haiku", "claude-3-*"], 1)


def test_what_an_administrator_set_on_a_user_s_key_is_not_widened_by_the_user(world: World) -> None:
    desk = world.desk
    desk.user("bounded", "internal_user")
    free, given = desk.key(user_id="bounded"), desk.key(user_id="bounded", max_budget=1.0, models=["gpt-4o-mini"])
    for wider in ({"max_budget": 2.0}, {"max_budget": None}, {"models": []}, {"models": ["*"]}):
        with pytest.raises(PermissionDenied):
            desk.ask("key_update", {"key": given, **wider}, by=free)
    desk.ask("key_update", {"key": given, "max_budget": 0.5}, by=free)
    with pytest.raises(PermissionDenied):
        desk.ask("key_unblock", {"key": given}, by=free)


# --- the audit -----------------------------------------------------------------------------------------------------


def test_every_write_leaves_a_line_and_a_refused_one_leaves_nothing(new_desk: Callable[[], Desk]) -> None:
    desk = new_desk()
    key = desk.ask("key_generate", {"key_alias": "a", "max_budget": 1.0})
    desk.ask("key_update", {"key": key["key"], "max_budget": 2.0})
    with pytest.raises(PermissionDenied):
        desk.ask("key_update", {"key": key["key"], "max_budget": 3.0}, by=key["key"])
    desk.ask("key_block", {"key": key["key"]})
    desk.ask("key_delete", {"keys": [key["key"]]})
    lines = [(line["action"], line["kind"], line["object_id"], line["actor"]) for line in reversed(desk.audit())]
    assert lines == [(action, "key", key["token"], "master") for action in ("created", "updated", "blocked", "deleted")]
    update = desk.audit()[2]
    assert update["before"] == {"max_budget_nusd": 1_000_000_000}
    assert update["after"] == {"max_budget_nusd": 2_000_000_000}
    assert update["request_id"] == "request-1"


def test_audit_holds_no_credential(new_desk: Callable[[], Desk]) -> None:
    desk = new_desk()
    key = desk.key(key_alias="a")
    desk.ask("model_new", {"model_name": "m", "litellm_params": {"model": "openai/m", "api_key": "sk-upstream-secret"}})
    found = str(desk.audit())
    assert key not in found
    assert "sk-upstream-secret" not in found


# --- budgets --------------------------------------------------------------------------------------------------------


def test_budget_tells_when_its_window_ends(new_desk: Callable[[], Desk]) -> None:
    desk = new_desk()
    key = desk.ask("key_generate", {"max_budget": 1.0, "budget_duration": "1mo"})
    assert key["budget_reset_at"].endswith("-01T00:00:00.000Z")
    assert desk.ask("key_generate", {"max_budget": 1.0})["budget_reset_at"] is None
