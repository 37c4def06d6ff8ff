"""A store that an older version has made, with rows in it, under this one; one that a newer version has made, too."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table, inspect, select, text
from sqlalchemy.types import BigInteger, Boolean, Float, Integer, LargeBinary, String

from harness.admin import manage
from harness.gateway import MASTER_KEY, TEAM_KEY, Gateway, base_config, eventually, running
from harness.upstream import Upstream
from harness.wire import assert_error
from routewright.config import ConfigError, load_settings
from routewright.settings import STORED_MARK
from routewright.store import database as module
from routewright.store.database import HEAD, Database, sqlite_url
from routewright.store.ledger import HOUR_MS

OWN = {"alembic_version", "schema_floor"}
NOW_MS = int(time.time() * 1000)


def scripts(connection: Connection | None = None) -> Config:
    settings = Config()
    settings.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    settings.set_main_option("path_separator", "os")
    settings.attributes["connection"] = connection
    return settings


def versions() -> list[str]:
    """Every version that there ever was, the oldest first."""
    return [each.revision for each in ScriptDirectory.from_config(scripts()).walk_revisions()][::-1]


def upgrade_to(connection: Connection, revision: str) -> None:
    command.upgrade(scripts(connection), revision)


def made_up(column: Any, place: int) -> Any:
    """A value of the column's type that no other row of its table has."""
    kind = column.type
    if isinstance(kind, Boolean):
        return bool(place % 2)
    if isinstance(kind, BigInteger | Integer):
        return NOW_MS // HOUR_MS * HOUR_MS - place * HOUR_MS if column.name.endswith("_at_ms") else place
    if isinstance(kind, Float):
        return place / 2
    if isinstance(kind, String):
        return f"{column.name} of {place} \N{SNOWMAN}"
    return b"%d" % place if isinstance(kind, LargeBinary) else {"place": [place]}


def fill(connection: Connection, place: int) -> list[tuple[str, dict[str, Any]]]:
    """Put a row into every table that there is by now, as reflected; what was put where."""
    put = []
    for name in sorted(set(inspect(connection).get_table_names()) - OWN):
        table = Table(name, MetaData(), autoload_with=connection)
        row = {column.name: made_up(column, place) for column in table.columns}
        connection.execute(table.insert().values(row))
        put.append((name, row))
    return put


def test_rows_of_every_version_are_there_after_all_upgrades_since(address: str) -> None:
    """Each version's tables get a row each, then the next version comes; at the end each row is what it was."""
    database = Database(address)
    *older, newest = versions()
    assert newest == HEAD
    put: list[tuple[str, dict[str, Any]]] = []
    for place, revision in enumerate(older, 1):
        database.write(lambda connection, revision=revision: upgrade_to(connection, revision))
        put += database.write(lambda connection, place=place: fill(connection, place))
    database.migrate()
    assert len(put) > 10 * len(older)

    def look(connection: Connection) -> None:
        tables: dict[str, Table] = {}
        for name, row in put:
            table = tables.setdefault(name, Table(name, MetaData(), autoload_with=connection))
            where = [table.c[column.name] == row[column.name] for column in table.primary_key.columns]
            (found,) = connection.execute(select(table).where(*where)).mappings().all()
            assert {column: found[column] for column in row} == row, (name, dict(found))
        hours = connection.scalar(text("SELECT sum(cost_nusd) FROM spend_hours"))
        assert hours == connection.scalar(text("SELECT sum(cost_nusd) FROM spend_models")) > 0

    database.read(look)
    database.close()


KEY = "sk-of-an-older-version-0123456789"
KEY_HASH = hashlib.sha256(KEY.encode()).hexdigest()
OLD_RECORD = {
    "call_id": "call-of-old", "request_id": "request-of-old", "started_at": NOW_MS / 1000 - 60, "endpoint": "chat",
    "key_hash": KEY_HASH, "key_alias": "old", "model_asked": "gpt-4o", "model": "gpt-4o", "deployment": "d",
    "provider": "openai", "status": 200, "error_code": None, "ended": "complete", "is_stream": False,
    "prompt_tokens": 7, "completion_tokens": 5, "cached_tokens": 0, "reasoning_tokens": 0, "usage_estimated": False,
    "cost_nusd": 1_000_000_000, "is_priced": True, "latency_ms": 9.0, "ttft_ms": None, "attempts": 1, "fallbacks": 0,
}  # fmt: skip
"""A line of the journal as the first version wrote it."""


def folder_of_an_older_version(data_dir: Path, revision: str) -> None:
    """A stored key with a budget of two dollars, and a journal that was not brought in before the old one ended."""
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / "journal").mkdir(exist_ok=True)
    (data_dir / "journal" / "worker-0-old-0001.jsonl").write_text(json.dumps(OLD_RECORD) + "\n")
    database = Database(sqlite_url(data_dir))
    database.write(lambda connection: upgrade_to(connection, revision))
    row = {
        "key_hash": KEY_HASH, "key_name": "sk-...6789", "key_alias": "old", "key_type": "default", "blocked": False,
        "is_service_account": False, "created_at_ms": NOW_MS, "updated_at_ms": NOW_MS, "max_budget_nusd": 2 * 10**9,
        "budget_started_at_ms": NOW_MS - 3_600_000,
    }  # fmt: skip
    database.write(
        lambda connection: connection.execute(Table("keys", MetaData(), autoload_with=connection).insert().values(row))
    )
    (data_dir / STORED_MARK).touch()
    database.close()


def start_on(gateway: Gateway, change: Any) -> None:
    """Stop it, have its data folder changed, and start it there again."""
    gateway.terminate()
    gateway.wait()
    change(gateway.data_dir)
    gateway.start_again()


def renew(data_dir: Path, revision: str) -> None:
    for file in data_dir.glob("store.sqlite3*"):
        file.unlink()
    folder_of_an_older_version(data_dir, revision)


def set_version(data_dir: Path, revision: str, floor: str) -> None:
    with sqlite3.connect(data_dir / "store.sqlite3") as store:
        store.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        store.execute("UPDATE schema_floor SET oldest = ?", (floor,))
    store.close()


def test_gateway_takes_over_an_older_one_s_folder_and_tells_one_that_is_too_new(upstream: Upstream) -> None:
    with running(base_config(upstream)) as gateway:
        start_on(gateway, lambda data_dir: renew(data_dir, "0001"))
        assert gateway.chat(key=KEY).status == 200
        info = manage(gateway, f"/key/info?key={KEY}")["info"]
        assert info["key_alias"] == "old"
        (row,) = eventually(lambda: manage(gateway, "/spend/logs?request_id=request-of-old"), within_s=10)
        assert (row["spend"], row["total_tokens"]) == (1.0, 12)
        assert eventually(lambda: manage(gateway, f"/key/info?key={KEY}")["info"]["spend"] >= 1.0, within_s=10)

        start_on(gateway, lambda data_dir: set_version(data_dir, "9999", HEAD))
        eventually(lambda: gateway.chat(key=KEY).status == 200, within_s=10, what="a newer version has only added")

        start_on(gateway, lambda data_dir: set_version(data_dir, "9999", "9998"))
        assert_error(gateway.request("GET", "/health/readiness", key=None), 503, "storage_unavailable")
        assert_error(gateway.chat(key=KEY), 503, "storage_unavailable")
        assert gateway.chat(key=TEAM_KEY).status == 200, "keys of the file go on"
        assert_error(gateway.request("GET", "/key/list", key=MASTER_KEY), 503, "storage_unavailable")
        assert "tables are of version 9999" in gateway.output()
        assert "the backup from before its upgrade" in gateway.output()
        for words in (["usage"], ["doctor", "--offline", "--config", str(gateway.config_file)]):
            command_line = [sys.executable, "-m", "routewright", *words, "--data-dir", str(gateway.data_dir)]
            environment = {**gateway.environment, "NO_COLOR": "1", "COLUMNS": "300"}
            done = subprocess.run(command_line, capture_output=True, text=True, env={**os.environ, **environment})
            assert done.returncode == 1
            assert "version 9999" in done.stdout + done.stderr
            assert "Traceback" not in done.stderr


@pytest.mark.parametrize("field", ["newer_setting: 1", "routes: {auto: {newer_field: 1}}"])
def test_configuration_of_a_newer_version_is_named_by_line_and_field(tmp_path: Path, field: str) -> None:
    """A version that is put back names what it does not know, before it takes anybody's place."""
    file = tmp_path / "config.yaml"
    file.write_text(f"model_list:\n  - model_name: m\n    litellm_params: {{model: openai/m, api_key: k}}\n{field}\n")
    with pytest.raises(ConfigError, match=r"config\.yaml:4.*newer_"):
        load_settings(file, environ={})
