"""What was spent in a LiteLLM database is taken over once, with its organizations, its audit and its sealed values."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from psycopg.types.json import Jsonb

from harness.postgres import Postgres
from management.conftest import Desk
from management.test_litellm import TABLES, dump
from routewright.management.grants import grants_of
from routewright.management.litellm import import_litellm
from routewright.management.litellm_models import Models
from routewright.management.seal import Seal
from routewright.store.database import Database, sqlite_url
from routewright.store.ledger import DAY_MS, spent_nusd
from routewright.types import NUSD_PER_USD

DAY, DAY_BEFORE = 20_000 * DAY_MS, 19_999 * DAY_MS  # 2024-10-04
SALT = "the salt that LiteLLM ran with"
KEY, GONE_KEY = "a" * 64, "b" * 64

MORE_TABLES = """
CREATE TABLE "LiteLLM_OrganizationTable" (organization_id TEXT PRIMARY KEY, organization_alias TEXT, budget_id TEXT,
  metadata JSONB DEFAULT '{}', models TEXT[] DEFAULT '{}', spend DOUBLE PRECISION DEFAULT 0,
  created_at TIMESTAMP DEFAULT now(), created_by TEXT);
CREATE TABLE "LiteLLM_OrganizationMembership" (user_id TEXT, organization_id TEXT, user_role TEXT,
  spend DOUBLE PRECISION DEFAULT 0, budget_id TEXT, PRIMARY KEY (user_id, organization_id));
CREATE TABLE "LiteLLM_DailyUserSpend" (id TEXT PRIMARY KEY, user_id TEXT, date TEXT, api_key TEXT, model TEXT,
  model_group TEXT, custom_llm_provider TEXT, prompt_tokens BIGINT DEFAULT 0, completion_tokens BIGINT DEFAULT 0,
  cache_read_input_tokens BIGINT DEFAULT 0, cache_creation_input_tokens BIGINT DEFAULT 0,
  spend DOUBLE PRECISION DEFAULT 0, api_requests BIGINT DEFAULT 0, successful_requests BIGINT DEFAULT 0,
  failed_requests BIGINT DEFAULT 0);
CREATE TABLE "LiteLLM_DailyTeamSpend" (id TEXT PRIMARY KEY, team_id TEXT, api_key TEXT);
CREATE TABLE "LiteLLM_DailyTagSpend" (id TEXT PRIMARY KEY, tag TEXT, date TEXT, spend DOUBLE PRECISION,
  prompt_tokens BIGINT, completion_tokens BIGINT, api_requests BIGINT);
CREATE TABLE "LiteLLM_DailyEndUserSpend" (id TEXT PRIMARY KEY, end_user_id TEXT, date TEXT, api_key TEXT, model TEXT,
  model_group TEXT, custom_llm_provider TEXT, prompt_tokens BIGINT, completion_tokens BIGINT, spend DOUBLE PRECISION,
  api_requests BIGINT);
CREATE TABLE "LiteLLM_AuditLog" (id TEXT PRIMARY KEY, updated_at TIMESTAMP, changed_by TEXT, changed_by_api_key TEXT,
  action TEXT, table_name TEXT, object_id TEXT, before_value JSONB, updated_values JSONB);
INSERT INTO "LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, models, spend, metadata)
  VALUES ('acme', 'Acme', 'b1', '{gpt-4o}', 7.0, '{"model_tpm_limit": {"gpt-4o": 9}}');
INSERT INTO "LiteLLM_OrganizationMembership" VALUES ('ann', 'acme', 'org_admin', 4.0, NULL);
UPDATE "LiteLLM_TeamTable" SET organization_id = 'acme';
INSERT INTO "LiteLLM_DailyUserSpend" (id, user_id, date, api_key, model, model_group, custom_llm_provider, spend,
  prompt_tokens, completion_tokens, api_requests, failed_requests) VALUES
  ('1', 'ann', '2024-10-04', repeat('a', 64), 'gpt-4o-2024', 'gpt-4o', 'openai', 2.5, 100, 10, 5, 1),
  ('2', 'ann', '2024-10-03', repeat('b', 64), 'gpt-4o-2024', 'gpt-4o', 'openai', 0.5, 10, 1, 1, 0),
  ('3', NULL, 'no day', repeat('a', 64), 'x', NULL, NULL, 1, 0, 0, 0, 0);
INSERT INTO "LiteLLM_DailyTeamSpend" VALUES ('1', 't1', repeat('b', 64));
INSERT INTO "LiteLLM_DailyTagSpend" VALUES ('1', 'prod', '2024-10-04', 0.25, 3, 4, 2);
INSERT INTO "LiteLLM_DailyEndUserSpend" VALUES
  ('1', 'c1', '2024-10-04', repeat('a', 64), 'gpt-4o-2024', 'gpt-4o', 'openai', 40, 4, 0.375, 2);
INSERT INTO "LiteLLM_VerificationToken" (token, key_alias, team_id, user_id, spend) VALUES
  (repeat('a', 64), 'the-key', 't1', 'ann', 3.0);
"""


@pytest.fixture
def source(postgres: Postgres) -> Iterator[str]:
    address = postgres.new_database()
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute((TABLES + MORE_TABLES).encode())
    yield address
    postgres.drop(address)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    database = Database(sqlite_url(tmp_path))
    database.migrate()
    yield Desk(database)
    database.close()


def take(source: str, desk: Desk, secret: str | None = None) -> list[str]:
    database = Database(source)
    try:
        return import_litellm(database, desk.database, Models(secret))
    finally:
        database.close()


def execute(source: str, statement: str, *values: Any) -> None:
    with psycopg.connect(source, autocommit=True) as connection:
        connection.execute(statement.encode(), values)


def spent(desk: Desk, scope: str, owner: str, start: int = 0, end: int = 2**62) -> float:
    found = desk.database.read(lambda connection: spent_nusd(connection, scope, owner, start, end))
    return found / NUSD_PER_USD


def test_daily_sums_go_in_once_and_what_has_come_since_is_added(source: str, desk: Desk) -> None:
    before = dump(source)
    lines = take(source, desk)
    assert dump(source) == before, "the source is only read"
    assert "daily sums: 5 found, 4 taken or added to, 0 there already" in lines
    assert "LiteLLM_DailyUserSpend: 1 left out: no id, day or owner" in lines
    for _ in range(2):
        # A budget's window counts what was spent in it; the owners' figures are LiteLLM's, neither more nor less.
        assert spent(desk, "key", KEY, DAY, DAY + DAY_MS) == 2.5
        assert spent(desk, "team", "t1") == spent(desk, "user", "ann") == spent(desk, "team_member", "t1/ann") == 3.0
        assert spent(desk, "organization", "acme", DAY_BEFORE, DAY) == 0.5, "of a key that is deleted since"
        assert spent(desk, "tag", "prod") == 0.25
        assert spent(desk, "customer", "c1", DAY, DAY + DAY_MS) == 0.375
        assert desk.ask("customer_info", end_user_id="c1")["spend"] == pytest.approx(0.5)
        assert desk.ask("key_info", key=KEY)["info"]["spend"] == pytest.approx(3.0)
        assert desk.ask("team_info", team_id="t1")["team_info"]["spend"] == pytest.approx(100.125)
        assert desk.ask("user_info", user_id="ann")["user_info"]["spend"] == pytest.approx(3.25)
        assert desk.ask("organization_info", organization_id="acme")["spend"] == pytest.approx(7.0)
        (row,) = desk.ask("spend_keys", start_date="2024-10-04", end_date="2024-10-04")
        assert row["total_tokens"] == 110
        take(source, desk)
    execute(source, "UPDATE \"LiteLLM_DailyUserSpend\" SET spend = spend + 1, api_requests = 7 WHERE id = '1'")
    execute(source, "UPDATE \"LiteLLM_VerificationToken\" SET spend = spend + 1 WHERE user_id = 'ann'")
    assert "daily sums: 5 found, 1 taken or added to, 3 there already" in take(source, desk)
    assert desk.ask("key_info", key=KEY)["info"]["spend"] == pytest.approx(4.0)
    assert desk.ask("organization_info", organization_id="acme")["spend"] == pytest.approx(8.0)
    report = desk.ask("spend_report", group_by="team", start_date="2024-10-04", end_date="2024-10-04")
    assert report[0]["teams"][0]["total_spend"] == 3.5


def test_owners_that_an_earlier_version_imported_have_not_spent_twice(source: str, desk: Desk) -> None:
    """They came with all that LiteLLM's row said, before the daily sums did."""
    days = 'ALTER TABLE "LiteLLM_Daily{}Spend" RENAME TO "Hidden{}"'
    for name in ("User", "EndUser", "Tag"):
        execute(source, days.format(name, name))
    take(source, desk)
    assert desk.ask("key_info", key=KEY)["info"]["spend"] == pytest.approx(3.0)
    for name in ("User", "EndUser", "Tag"):
        execute(source, f'ALTER TABLE "Hidden{name}" RENAME TO "LiteLLM_Daily{name}Spend"')
    take(source, desk)
    assert desk.ask("key_info", key=KEY)["info"]["spend"] == pytest.approx(3.0)
    assert spent(desk, "key", KEY) == 2.5
    assert desk.ask("team_info", team_id="t1")["team_info"]["spend"] == pytest.approx(100.125)


def test_organizations_come_with_members_and_bound_their_keys(source: str, desk: Desk) -> None:
    lines = take(source, desk)
    assert "LiteLLM_OrganizationTable: 1 found, 1 taken, 0 there already" in lines
    about = desk.ask("organization_info", organization_id="acme")
    assert (about["organization_alias"], about["models"]) == ("Acme", ["gpt-4o"])
    assert about["litellm_budget_table"]["max_budget"] == 12.5
    assert about["model_tpm_limit"] == {"gpt-4o": 9}
    assert [(each["user_id"], each["user_role"], each["spend"]) for each in about["members"]] == [
        ("ann", "org_admin", pytest.approx(4.0))
    ]
    grant = desk.database.read(lambda connection: grants_of(connection, [KEY]))[KEY]
    assert grant is not None
    assert "organization" in {each.scope for each in grant.allowances}
    assert "LiteLLM_OrganizationTable: 1 found, 0 taken, 1 there already" in take(source, desk)


def test_audit_comes_once_and_without_credentials(source: str, desk: Desk) -> None:
    execute(
        source,
        'INSERT INTO "LiteLLM_AuditLog" VALUES (%s, \'2024-10-04 10:00\', %s, NULL, \'created\', '
        "'LiteLLM_VerificationToken', %s, NULL, %s)",
        "one", "ann", KEY,
        Jsonb({"key": "sk-canary-1", "key_alias": "a", "deep": [{"api_key": "canary-2", "text": "sk-canary-3"}]}),
    )  # fmt: skip
    assert "LiteLLM_AuditLog: 1 found, 1 taken, 0 there already" in take(source, desk)
    assert "LiteLLM_AuditLog: 1 found, 0 taken, 1 there already" in take(source, desk)
    (line,) = [each for each in desk.audit() if each["actor_role"] == "litellm"]
    assert (line["actor"], line["action"], line["kind"], line["object_id"]) == ("ann", "created", "key", KEY)
    assert line["at"] == "2024-10-04T10:00:00.000Z"
    assert line["after"]["key_alias"] == "a"
    assert "canary" not in str(desk.audit())


# --- sealed values -------------------------------------------------------------------------------------------------


def sealed(version: str, text: str, secret: str = SALT) -> str:
    """As LiteLLM's versions seal, by another library than ours."""
    if version == "v2":
        key = hashlib.sha256(secret.encode()).digest()
    else:
        derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"litellm-at-rest-v3")
        key = derived.derive(secret.encode())
    nonce = os.urandom(12)
    return (
        f"{version}:gcm:" + base64.urlsafe_b64encode(nonce + AESGCM(key).encrypt(nonce, text.encode(), None)).decode()
    )


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_values_of_newer_versions_are_opened(version: str) -> None:
    for text in ("", "sk-a", "é" * 500):
        value = sealed(version, text)
        assert Seal(SALT).open_text(value) == text
        for wrong in (value[:-6] + "AAAA==", value[:20], f"{version}:gcm:", f"{version}:gcm:%"):
            assert Seal(SALT).open_text(wrong) is None
        assert Seal("another").open_text(value) is None


def add_model(source: str, version: str, secret: str = SALT) -> None:
    params = {"model": "openai/gpt-4o", "api_key": "sk-upstream"}
    values = {name: sealed(version, value, secret) for name, value in params.items()}
    execute(source, 'INSERT INTO "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params) VALUES (%s, %s, %s)',
            f"id-{version}", version, Jsonb(values))  # fmt: skip


def test_models_of_newer_versions_are_taken(source: str, desk: Desk) -> None:
    add_model(source, "v2")
    add_model(source, "v3")
    assert "LiteLLM_ProxyModelTable: 2 found, 2 taken, 0 there already" in take(source, desk, SALT)


def test_wrong_salt_takes_nothing_and_says_so(source: str, desk: Desk) -> None:
    add_model(source, "v2")
    with pytest.raises(ValueError, match="LITELLM_SALT_KEY"):
        take(source, desk, "another")
    assert desk.ask("key_list")["keys"] == []
