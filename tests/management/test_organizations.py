"""Organizations: whose teams and keys they are, who governs them, and what a key in one may do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from management.conftest import Desk, hash_of
from routewright.errors import Conflict, InvalidRequest, NotFound, PermissionDenied
from routewright.grants import Grant
from routewright.management.grants import grants_of
from routewright.store.ledger import HOUR_MS, spent_nusd
from routewright.types import NUSD_PER_USD
from store.test_spend_ledger import insert, record

Made = tuple[Desk, str, str]


def grant(desk: Desk, key: str) -> Grant:
    found = desk.database.read(lambda connection: grants_of(connection, [hash_of(key)]))[hash_of(key)]
    assert found is not None
    return found


def organization(desk: Desk, organization_id: str = "acme", **fields: Any) -> Any:
    body = {"organization_id": organization_id, "organization_alias": organization_id.title(), **fields}
    return desk.ask("organization_new", body)


@pytest.fixture
def governed(desk: Desk) -> Made:
    """An organization with a team; the key of who governs it, and one of an ordinary member of both."""
    organization(desk)
    desk.ask("team_new", {"team_id": "blue", "organization_id": "acme"})
    for user_id, role in (("boss", "org_admin"), ("ann", "internal_user")):
        desk.user(user_id, "internal_user")
        desk.ask("organization_member_add",
                 {"organization_id": "acme", "member": {"user_id": user_id, "role": role}})  # fmt: skip
    desk.ask("team_member_add", {"team_id": "blue", "member": {"user_id": "ann"}})
    return desk, desk.key(user_id="boss"), desk.key(user_id="ann")


def test_life_of_an_organization_in_litellm_s_shapes(desk: Desk) -> None:
    made = organization(desk, max_budget=100.0, tpm_limit=10, models=["gpt-4o"], metadata={"a": 1})
    assert made["organization_alias"] == "Acme"
    assert made["litellm_budget_table"]["max_budget"] == 100.0
    assert made["litellm_budget_table"]["tpm_limit"] == 10
    desk.ask("team_new", {"team_id": "blue", "organization_id": "acme", "models": ["gpt-4o"]})
    added = desk.ask(
        "organization_member_add",
        {"organization_id": "acme", "member": [{"role": "org_admin", "user_email": "boss@example.com"}],
         "max_budget_in_organization": 5.0},
    )  # fmt: skip
    user_id = added["updated_users"][0]["user_id"]
    member = desk.ask("organization_member_update",
                      {"organization_id": "acme", "user_id": user_id, "role": "internal_user"})  # fmt: skip
    assert (member["user_role"], member["litellm_budget_table"]["max_budget"]) == ("internal_user", 5.0)
    changed = desk.ask("organization_update", {"organization_id": "acme", "max_budget": 50.0, "tpm_limit": None})
    assert (changed["max_budget"], changed["tpm_limit"]) == (50.0, None)
    about = desk.ask("organization_info", organization_id="acme")
    assert [each["user_id"] for each in about["members"]] == [user_id]
    assert [each["team_id"] for each in about["teams"]] == ["blue"]
    assert [each["organization_id"] for each in desk.ask("organization_list")] == ["acme"]
    assert desk.ask("organization_info", {"organizations": ["acme"]})[0]["organization_id"] == "acme"
    assert desk.ask("user_info", user_id=user_id)["organization_memberships"][0]["organization_id"] == "acme"
    with pytest.raises(Conflict):
        organization(desk)
    desk.ask("organization_member_delete", {"organization_id": "acme", "user_email": "boss@example.com"})
    key = desk.ask("key_generate", {"team_id": "blue"})
    own = desk.ask("key_generate", {"organization_id": "acme"})
    assert (key["organization_id"], own["organization_id"]) == ("acme", "acme")
    assert desk.ask("organization_delete", {"organization_ids": ["acme"]})[0]["organization_id"] == "acme"
    for made in (key, own):
        with pytest.raises(NotFound):
            desk.ask("key_info", key=made["token"])
    with pytest.raises(NotFound):
        desk.ask("team_info", team_id="blue")
    kinds = {(line["action"], line["kind"]) for line in desk.audit()}
    assert {("created", "organization"), ("updated", "organization_member"), ("deleted", "organization")} <= kinds


def test_key_of_a_team_has_what_the_organization_leaves_it(desk: Desk) -> None:
    organization(desk, models=["gpt-4o", "claude-*"], max_budget=5.0, budget_duration="30d", rpm_limit=7,
                 model_rpm_limit={"gpt-4o": 3})  # fmt: skip
    desk.ask("team_new", {"team_id": "blue", "organization_id": "acme", "models": ["all-org-models"]})
    found = grant(desk, desk.key(team_id="blue", models=["all-team-models"]))
    assert found.organization_id == "acme"
    assert found.models == ("gpt-4o", "claude-*")
    (own,) = found.allowances
    assert (own.scope, own.owner, own.rpm, own.budget_nusd) == ("organization", "acme", 7, 5 * NUSD_PER_USD)
    assert found.model_allowances["gpt-4o"][0].scope == "model_per_organization"
    assert "organization:acme" in found.depends_on
    narrower = grant(desk, desk.key(organization_id="acme", models=["claude-3", "gpt-4o-mini"]))
    assert narrower.models == ("claude-3",)
    desk.ask("organization_update", {"organization_id": "acme", "blocked": True})
    assert "blocked" in (grant(desk, desk.key(team_id="blue")).refusal or "")


def test_models_of_an_organization_that_there_is_not_are_none(desk: Desk) -> None:
    assert grant(desk, desk.key(models=["all-org-models"])).models == ()


def test_budget_of_a_member_counts_what_the_member_spends_there(governed: Made) -> None:
    desk, _, _ = governed
    body = {"organization_id": "acme", "user_id": "ann", "max_budget_in_organization": 2.0}
    desk.ask("organization_member_update", body)
    of_team, elsewhere = desk.key(user_id="ann", team_id="blue"), desk.key(user_id="ann")
    scopes = {each.scope: each for each in grant(desk, of_team).allowances}
    assert scopes["organization_member"].owner == "acme/ann"
    assert scopes["organization_member"].budget_nusd == 2 * NUSD_PER_USD
    assert grant(desk, elsewhere).allowances == ()


def test_team_is_given_no_more_than_its_organization_has(desk: Desk) -> None:
    organization(desk, models=["gpt-*"], max_budget=10.0, rpm_limit=5)
    for field, value in (("models", ["claude-3"]), ("max_budget", 11.0), ("rpm_limit", 6)):
        with pytest.raises(InvalidRequest) as caught:
            desk.ask("team_new", {"organization_id": "acme", field: value})
        assert caught.value.param == field
    desk.ask("team_new", {"team_id": "t", "organization_id": "acme", "models": ["gpt-4o"], "max_budget": 10.0})
    with pytest.raises(InvalidRequest):
        desk.ask("team_model_add", {"team_id": "t", "models": ["claude-3"]})
    with pytest.raises(InvalidRequest):
        desk.ask("team_update", {"team_id": "t", "max_budget": 11.0})
    desk.ask("organization_update", {"organization_id": "acme", "max_budget": 1.0})
    desk.ask("team_update", {"team_id": "t", "team_alias": "what is not touched is not looked at"})
    with pytest.raises(NotFound):
        desk.ask("team_new", {"organization_id": "no-such"})
    with pytest.raises(NotFound):
        desk.ask("key_generate", {"organization_id": "no-such"})


def test_team_that_changes_its_organization_takes_its_keys_along(desk: Desk) -> None:
    organization(desk)
    organization(desk, "other")
    desk.ask("team_new", {"team_id": "blue", "organization_id": "acme"})
    key = desk.key(team_id="blue")
    with pytest.raises(InvalidRequest):
        desk.ask("key_update", {"key": key, "organization_id": "other"})
    desk.ask("team_update", {"team_id": "blue", "organization_id": "other"})
    assert grant(desk, key).organization_id == "other"
    assert desk.ask("key_info", key=key)["info"]["organization_id"] == "other"


# --- who governs ---------------------------------------------------------------------------------------------------


def test_who_governs_it_manages_its_teams_and_keys(governed: Made) -> None:
    desk, boss, _ = governed
    desk.ask("team_new", {"team_id": "red", "organization_id": "acme", "max_budget": 3.0}, by=boss)
    desk.ask("team_member_add", {"team_id": "red", "member": {"user_id": "ann", "role": "admin"}}, by=boss)
    made = desk.ask("key_generate", {"team_id": "red", "user_id": "ann"}, by=boss)
    own = desk.ask("key_generate", {"organization_id": "acme", "user_id": "ann"}, by=boss)
    listed = desk.ask("key_list", by=boss, organization_id="acme")["keys"]
    assert {made["token"], own["token"]} <= set(listed)
    desk.ask("key_block", {"key": made["key"]}, by=boss)
    desk.ask("team_block", {"team_id": "blue"}, by=boss)
    assert [each["team_id"] for each in desk.ask("team_list", by=boss)] == ["blue", "red"]
    desk.ask("team_delete", {"team_ids": ["red"]}, by=boss)
    about = desk.ask("organization_info", by=boss, organization_id="acme")
    assert {each["user_id"] for each in about["members"]} == {"boss", "ann"}


def test_member_sees_the_organization_and_itself_in_it(governed: Made) -> None:
    desk, _, ann = governed
    about = desk.ask("organization_info", by=ann, organization_id="acme")
    assert [each["user_id"] for each in about["members"]] == ["ann"]
    assert [each["team_id"] for each in about["teams"]] == ["blue"]
    desk.user("stranger", "internal_user")
    stranger = desk.key(user_id="stranger")
    assert desk.ask("organization_list", by=stranger) == []
    for by in (ann, stranger):
        with pytest.raises(PermissionDenied):
            desk.ask("organization_member_add", {"organization_id": "acme", "member": {"user_id": "stranger"}}, by=by)


@pytest.mark.parametrize(("field", "value"), [("max_budget", 9.0), ("models", ["*"]), ("spend", 0.0), ("rpm_limit", 9),
                                              ("blocked", False), ("budget_id", "b")])  # fmt: skip
def test_who_governs_it_does_not_set_its_own_bounds(governed: Made, field: str, value: Any) -> None:
    desk, boss, _ = governed
    with pytest.raises(PermissionDenied):
        desk.ask("organization_update", {"organization_id": "acme", field: value}, by=boss)


def test_key_of_an_organization_speaks_for_it_alone(governed: Made) -> None:
    """Whoever governs one can name anybody a member; a key made so must not open what that user leads elsewhere."""
    desk, boss, _ = governed
    organization(desk, "other")
    desk.ask("team_new", {"team_id": "theirs", "organization_id": "other"})
    desk.user("eve", "internal_user")
    desk.ask("organization_member_add",
             {"organization_id": "other", "member": {"user_id": "eve", "role": "org_admin"}})  # fmt: skip
    far = desk.key(user_id="eve")
    desk.ask("organization_member_add", {"organization_id": "acme", "member": {"user_id": "eve"}}, by=boss)
    near = desk.ask("key_generate", {"organization_id": "acme", "user_id": "eve"}, by=boss)["key"]
    for endpoint, body in (
        ("team_update", {"team_id": "theirs", "team_alias": "x"}),
        ("organization_update", {"organization_id": "other", "organization_alias": "x"}),
        ("user_update", {"user_alias": "x"}),
        ("key_generate", {"team_id": "theirs"}),
        ("key_generate", {"organization_id": "other"}),
    ):
        with pytest.raises(PermissionDenied):
            desk.ask(endpoint, body, by=near)
    with pytest.raises(NotFound):
        desk.ask("key_info", by=near, key=far)
    assert desk.ask("key_list", by=near)["keys"] == [hash_of(near)]
    assert desk.ask("key_generate", {}, by=near)["organization_id"] == "acme"


def test_who_governs_it_makes_no_key_that_speaks_for_an_administrator(governed: Made) -> None:
    desk, boss, _ = governed
    desk.user("root", "proxy_admin")
    desk.ask("organization_member_add", {"organization_id": "acme", "member": {"user_id": "root"}}, by=boss)
    desk.ask("team_member_add", {"team_id": "blue", "member": {"user_id": "root"}}, by=boss)
    for body in ({"organization_id": "acme"}, {"team_id": "blue"}):
        with pytest.raises(PermissionDenied):
            desk.ask("key_generate", {**body, "user_id": "root"}, by=boss)
    with pytest.raises(PermissionDenied):
        desk.ask("key_generate", {"organization_id": "acme", "user_id": "nobody-in-it"}, by=boss)


def test_key_for_a_team_of_it_does_not_govern_it(governed: Made) -> None:
    """A team's leader can make keys for members of the team, who may govern the organization."""
    desk, _, _ = governed
    desk.ask("team_member_add", {"team_id": "blue", "member": {"user_id": "boss"}})
    bound = desk.key(user_id="boss", team_id="blue")
    for endpoint, body in (
        ("team_new", {"organization_id": "acme"}),
        ("team_update", {"team_id": "blue", "max_budget": 1.0}),
        ("organization_update", {"organization_id": "acme", "organization_alias": "x"}),
    ):
        with pytest.raises(PermissionDenied):
            desk.ask(endpoint, body, by=bound)


# --- what was spent ------------------------------------------------------------------------------------------------


def test_spend_of_an_organization_is_known_and_told(new_desk: Callable[[], Desk]) -> None:
    desk = new_desk()
    organization(desk)
    hour = 1_800_000_000_000 // HOUR_MS * HOUR_MS
    rows = [
        record(ended_at_ms=hour + n * 600_000, cost_nusd=1000, organization_id=name, user_id=user, team_id="blue")
        for n, (name, user) in enumerate([("acme", "ann")] * 8 + [("acme", "bob")] * 4 + [(None, "ann")] * 5)
    ]
    assert insert(desk.database, *rows) == 17
    assert insert(desk.database, *rows) == 0  # read again, as after a crash

    def spent(scope: str, owner: str, start: int = 0, end: int = 2**62) -> int:
        return desk.database.read(lambda connection: spent_nusd(connection, scope, owner, start, end))

    assert spent("organization", "acme") == 12_000
    assert spent("organization_member", "acme/ann") == 8_000
    assert spent("organization", "acme", hour + 600_000, hour + 7 * 600_000) == 6_000
    assert spent("organization", "other") == 0
    about = desk.ask("organization_info", organization_id="acme")
    assert about["spend"] == pytest.approx(12e-6)
    days = {"start_date": "2027-01-01", "end_date": "2027-01-31"}
    told = desk.ask("organization_daily_activity", organization_ids="acme", **days)
    assert told["metadata"]["total_spend"] == pytest.approx(12e-6)
    assert told["results"][0]["breakdown"]["entities"]["acme"]["metadata"]["organization_alias"] == "Acme"
    report = desk.ask("spend_report", group_by="organization", **days)
    (of_acme,) = report[0]["organizations"]
    assert (of_acme["organization"], of_acme["organization_id"]) == ("Acme", "acme")
    assert len(desk.ask("spend_logs", organization_id="acme")) == 12
    with pytest.raises(InvalidRequest):
        desk.ask("spend_report", group_by="customer", organization_id="acme", **days)
