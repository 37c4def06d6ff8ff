"""`routewright keys`: the operations of `/key/*` on the database itself, whether a gateway runs on it or not."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from routewright.errors import GatewayError
from routewright.management.answer import perform
from routewright.management.fields import KEY, names
from routewright.management.rights import CLI
from routewright.management.seal import Seal
from routewright.store.database import Database, SchemaTooNew, sqlite_url

ACTIONS = {
    "generate": "key_generate",
    "update": "key_update",
    "delete": "key_delete",
    "regenerate": "key_regenerate",
    "block": "key_block",
    "unblock": "key_unblock",
    "info": "key_info",
    "list": "key_list",
    "aliases": "key_aliases",
}
_OF_QUERY = frozenset({"info", "list", "aliases"})


def keys_command(action: str, words: Sequence[str], data_dir: Path, database_url: str | None) -> int:
    """Do `action` and print its answer as JSON; 1 where it was refused, 2 where it was not understood.

    `words`: keys or hashes, and `field=value` with a value as JSON or as text; a list may be written with commas.
    """
    fields: dict[str, Any] = {}
    keys: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            fields[name] = _value(name, value)
        else:
            keys.append(word)
    if len(keys) > 1 and action != "delete":
        return _fail("name one key", 2)
    if keys and action == "delete":
        fields["keys"] = keys
    elif keys:
        fields["key"] = keys[0]
    try:
        database = open_database(data_dir, database_url)
        is_query = action in _OF_QUERY
        reply = perform(
            database, ACTIONS[action], lambda _: CLI, body={} if is_query else fields,
            query={name: str(value) for name, value in fields.items()} if is_query else {}, seal=Seal(None),
        )  # fmt: skip
    except (GatewayError, SchemaTooNew, ValueError) as error:
        return _fail(getattr(error, "message", None) or str(error), 1)
    database.close()
    print(json.dumps(reply, indent=2))
    return 0


def open_database(data_dir: Path, database_url: str | None) -> Database:
    """The gateway's database, its tables brought up to date. Raises GatewayError, SchemaTooNew, ValueError."""
    if database_url is None:
        data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(database_url or sqlite_url(data_dir))
    database.migrate_or_refuse()
    return database


def _value(name: str, text: str) -> Any:
    field = KEY.get(name)
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if field is not None and field.read is names and isinstance(value, str):
        return [part for part in value.split(",") if part]
    return text if name in ("key_alias", "user_id", "team_id") else value


def _fail(message: str, status: int) -> int:
    print(f"routewright: {message}", file=sys.stderr)
    return status
