"""COMPAT, section 10: a LiteLLM database is taken over, and its clients keep their keys."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from nacl.secret import SecretBox
from psycopg.types.json import Jsonb

from harness.admin import manage
from harness.gateway import MASTER_KEY, base_config, eventually, running
from harness.postgres import Postgres
from harness.upstream import Upstream
from harness.wire import secret

KEYS = {name: f"sk-litellm-{name}-0123456789" for name in ("plain", "team", "blocked", "expired", "limited")}

# Shaped as LiteLLM 1.81's schema.prisma has them, without the columns that nothing here reads.
TABLES = """
CREATE TABLE "LiteLLM_BudgetTable" (budget_id TEXT PRIMARY KEY, max_budget DOUBLE PRECISION,
  soft_budget DOUBLE PRECISION, max_parallel_requests INT, tpm_limit BIGINT, rpm_limit BIGINT, model_max_budget JSONB,
  budget_duration TEXT, budget_reset_at TIMESTAMP, created_at TIMESTAMP DEFAULT now(), created_by TEXT);
CREATE TABLE "LiteLLM_UserTable" (user_id TEXT PRIMARY KEY, user_alias TEXT, team_id TEXT, user_role TEXT,
  max_budget DOUBLE PRECISION, spend DOUBLE PRECISION DEFAULT 0, user_email TEXT, models TEXT[] DEFAULT '{}',
  metadata JSONB DEFAULT '{}', max_parallel_requests INT, tpm_limit BIGINT, rpm_limit BIGINT, budget_duration TEXT);
CREATE TABLE "LiteLLM_TeamTable" (team_id TEXT PRIMARY KEY, team_alias TEXT, organization_id TEXT,
  members_with_roles JSONB DEFAULT '[]', metadata JSONB DEFAULT '{}', max_budget DOUBLE PRECISION,
  spend DOUBLE PRECISION DEFAULT 0, models TEXT[] DEFAULT '{}', max_parallel_requests INT, tpm_limit BIGINT,
  rpm_limit BIGINT, budget_duration TEXT, blocked BOOLEAN DEFAULT false, created_at TIMESTAMP DEFAULT now());
CREATE TABLE "LiteLLM_TeamMembership" (user_id TEXT, team_id TEXT, spend DOUBLE PRECISION DEFAULT 0, budget_id TEXT,
  PRIMARY KEY (user_id, team_id));
CREATE TABLE "LiteLLM_EndUserTable" (user_id TEXT PRIMARY KEY, alias TEXT, spend DOUBLE PRECISION DEFAULT 0,
  default_model TEXT, budget_id TEXT, blocked BOOLEAN DEFAULT false);
CREATE TABLE "LiteLLM_VerificationToken" (token TEXT PRIMARY KEY, key_name TEXT, key_alias TEXT,
  spend DOUBLE PRECISION DEFAULT 0, expires TIMESTAMP, models TEXT[] DEFAULT '{}', aliases JSONB DEFAULT '{}',
  config JSONB DEFAULT '{}', user_id TEXT, team_id TEXT, permissions JSONB DEFAULT '{}', max_parallel_requests INT,
  metadata JSONB DEFAULT '{}', blocked BOOLEAN, tpm_limit BIGINT, rpm_limit BIGINT, max_budget DOUBLE PRECISION,
  budget_duration TEXT, allowed_routes TEXT[] DEFAULT '{}', model_max_budget JSONB DEFAULT '{}', budget_id TEXT,
  organization_id TEXT, created_at TIMESTAMP DEFAULT now());
CREATE TABLE "LiteLLM_ProxyModelTable" (model_id TEXT PRIMARY KEY, model_name TEXT, litellm_params JSONB,
  model_info JSONB, created_at TIMESTAMP DEFAULT now(), created_by TEXT);
INSERT INTO "LiteLLM_BudgetTable" (budget_id, max_budget, rpm_limit, budget_duration) VALUES ('b1', 12.5, 7, '30d');
INSERT INTO "LiteLLM_UserTable" (user_id, user_role, user_email, models, spend) VALUES
  ('ann', 'internal_user', 'ann@example.com', '{gpt-4o-mini}', 3.25), ('boss', 'proxy_admin', NULL, '{}', 0),
  ('odd', 'app_user', 'ann@example.com', '{}', 0);
INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, models, members_with_roles, metadata, spend) VALUES
  ('t1', 'Team One', '{gpt-4o}', '[{"role": "admin", "user_id": "ann"}, {"role": "user", "user_id": "odd"}]',
   '{"model_rpm_limit": {"gpt-4o": 3}, "cost": "x"}', 100.125);
INSERT INTO "LiteLLM_TeamMembership" (user_id, team_id, spend, budget_id) VALUES ('ann', 't1', 1.5, 'b1');
INSERT INTO "LiteLLM_EndUserTable" (user_id, alias, spend, budget_id, blocked) VALUES ('c1', 'C', 0.5, 'b1', true);
"""


def add_models(address: str, upstream: Upstream) -> None:
    """As LiteLLM writes them: every text sealed by itself, in either alphabet of base64 that its versions have used."""

    def add(
        name: str, *, key: str = MASTER_KEY, encode: Callable[[bytes], bytes] = base64.urlsafe_b64encode,
        info: Any = None, **more: Any,
    ) -> None:  # fmt: skip
        box = SecretBox(hashlib.sha256(key.encode()).digest())
        params = {"model": f"openai/{name}", "api_base": upstream[name].api_base, "api_key": secret(name), **more}
        sealed = {
            name: encode(box.encrypt(value.encode())).decode() if isinstance(value, str) else value
            for name, value in params.items()
        }
        connection.execute(
            b'INSERT INTO "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params, model_info) '
            b"VALUES (%s, %s, %s, %s)",
            (f"id-{name}", name, Jsonb(sealed), Jsonb({"id": f"id-{name}", **(info or {})})),
        )

    with psycopg.connect(address, autocommit=True) as connection:
        add("stored-new", rpm=7, info={"db_model": True, "mode": "chat"})
        add("stored-old", encode=base64.b64encode)
        add("stored-elsewhere", key="another key")
        add("stored-of-a-team", info={"team_id": "t1"})
        add("stored-without-model", model="")


def hash_of(name: str) -> str:
    return hashlib.sha256(KEYS[name].encode()).hexdigest()


@pytest.fixture
def litellm(postgres: Postgres) -> Iterator[str]:
    address = postgres.new_database()
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(TABLES.encode())
        insert = 'INSERT INTO "LiteLLM_VerificationToken" (token, key_alias, {}) VALUES (%s, %s, {})'

        def key(name: str, columns: str, values: str) -> None:
            connection.execute(insert.format(columns, values).encode(), (hash_of(name), name))

        key("plain", "models, spend, metadata", '\'{gpt-4o}\', 1.75, \'{"tags": ["prod"], "a": 1}\'')
        key("team", "team_id, user_id", "'t1', 'ann'")
        key("blocked", "blocked", "true")
        key("expired", "expires", "now() - interval '1 day'")
        key("limited", "rpm_limit, max_budget, budget_duration, aliases", "2, 5.0, '1mo', '{\"mine\": \"gpt-4o\"}'")
        connection.execute(
            b"INSERT INTO \"LiteLLM_VerificationToken\" (token, key_alias) VALUES ('sk-in-the-clear', 'odd')"
        )
    yield address
    postgres.drop(address)


def run_import(source: str, data_dir: Path, *more: str, env: Mapping[str, str] | None = None) -> list[str]:
    command = [sys.executable, "-m", "routewright", "import-litellm", source, "--data-dir", str(data_dir), *more]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def dump(address: str) -> list[tuple[object, ...]]:
    with psycopg.connect(address) as connection:
        names = [name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        return [row for name in sorted(names) for row in connection.execute(f'SELECT * FROM "{name}"'.encode())]


def test_clients_keep_their_keys(litellm: str, tmp_path: Path, upstream: Upstream) -> None:
    before = dump(litellm)
    with running(base_config(upstream)) as gateway:
        lines = run_import(litellm, gateway.data_dir)
        assert dump(litellm) == before, "the source is only read"
        assert "LiteLLM_VerificationToken: 6 found, 5 taken, 0 there already" in lines
        assert "LiteLLM_VerificationToken: 1 left out: not kept by its hash" in lines
        assert "LiteLLM_TeamMembership: 2 found, 2 taken, 0 there already" in lines
        assert "LiteLLM_UserTable: 1 taken without user_email, which is in use" in lines

        assert gateway.chat(key=KEYS["plain"]).status == 200
        assert gateway.chat(key=KEYS["plain"], model="gpt-4o-mini").status == 403
        assert gateway.chat(key=KEYS["team"]).status == 200
        assert gateway.chat(key=KEYS["blocked"]).error["code"] == "invalid_api_key"
        assert gateway.chat(key=KEYS["expired"]).error["code"] == "expired_api_key"
        assert [gateway.chat(key=KEYS["limited"], model="mine").status for _ in range(3)] == [200, 200, 429]

        plain = manage(gateway, f"/key/info?key={hash_of('plain')}")["info"]
        assert (plain["tags"], plain["metadata"]) == (["prod"], {"a": 1})
        assert plain["spend"] == pytest.approx(1.75, abs=0.01), "and what it has spent here since"
        team = manage(gateway, "/team/info?team_id=t1")
        assert team["team_info"]["spend"] == pytest.approx(100.125, abs=0.01)
        assert (team["team_info"]["admins"], team["team_info"]["model_rpm_limit"]) == (["ann"], {"gpt-4o": 3})
        assert {member["user_id"]: member["budget_id"] for member in team["team_memberships"]} == {
            "ann": "b1", "odd": None,
        }  # fmt: skip
        assert manage(gateway, "/user/info?user_id=odd")["user_info"]["user_role"] == "internal_user"
        customer = manage(gateway, "/customer/info?end_user_id=c1")
        assert (customer["blocked"], customer["litellm_budget_table"]["max_budget"]) == (True, 12.5)

        manage(gateway, "/key/update", {"key": hash_of("plain"), "models": []})
        again = run_import(litellm, gateway.data_dir)
        assert "LiteLLM_VerificationToken: 6 found, 0 taken, 5 there already" in again
        assert gateway.chat(key=KEYS["plain"], model="gpt-4o-mini").status == 200, "what is here stays as it is"


def test_stored_models_come_with_their_credentials_and_others_are_named(litellm: str, upstream: Upstream) -> None:
    add_models(litellm, upstream)
    before = dump(litellm)
    with running(base_config(upstream)) as gateway:
        blind = [line for line in run_import(litellm, gateway.data_dir) if "neither is known" in line]
        assert [line.split(": ")[:3] for line in blind] == [["LiteLLM_ProxyModelTable", "4 left out", "sealed; "
            "LITELLM_SALT_KEY or the master key opens it, and neither is known"]]  # fmt: skip
        lines = run_import(litellm, gateway.data_dir, "--config", str(gateway.config_file), env=gateway.environment)
        assert dump(litellm) == before, "the source is only read"
        assert [line.removeprefix("LiteLLM_ProxyModelTable: ") for line in lines if "ProxyModel" in line] == [
            "5 found, 2 taken, 0 there already",
            "1 left out: a team's own model, which would be served to everybody here",
            "1 left out: no litellm_params.model",
            "1 left out: sealed with another key than LITELLM_SALT_KEY or the master key here",
        ]
        for name in ("stored-new", "stored-old"):
            eventually(lambda model=name: gateway.chat(model).status == 200, what=name)
            assert upstream[name].requests[-1].headers["authorization"] == f"Bearer {secret(name)}"
        assert gateway.chat("stored-elsewhere").status == 404
        assert "canary" not in str(manage(gateway, "/model/info"))
        again = run_import(litellm, gateway.data_dir, "--config", str(gateway.config_file), env=gateway.environment)
        assert "LiteLLM_ProxyModelTable: 5 found, 0 taken, 2 there already" in again


def test_what_is_no_litellm_database_is_told(postgres: Postgres, tmp_path: Path) -> None:
    address = postgres.new_database()
    command = [sys.executable, "-m", "routewright", "import-litellm", address, "--data-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1
    assert "no database of LiteLLM" in done.stderr
    postgres.drop(address)
