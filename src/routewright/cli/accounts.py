"""Keys and what was spent: usage, export, keys, import-litellm."""

from __future__ import annotations

import argparse
import datetime
import os
from pathlib import Path

from routewright.cli.options import Commands, add_config, add_data_dir, command, database_and_seal, database_url


def add(commands: Commands) -> None:
    _add_usage(commands)
    _add_export(commands)
    _add_keys(commands)
    _add_import_litellm(commands)


def _add_usage(commands: Commands) -> None:
    parser = command(commands, "usage", "Totals by key and model, from the ledger.")
    add_data_dir(parser)
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=_usage)


def _usage(options: argparse.Namespace) -> int:
    from routewright.accounts.usage import print_usage

    url = database_url(options)
    return print_usage(options.data_dir, os.environ, database_url=url, as_json=options.json)


def _add_export(commands: Commands) -> None:
    parser = command(commands, "export", "Every call of the ledger, as CSV or Parquet.")
    add_data_dir(parser)
    add_config(parser)
    parser.add_argument("--out", type=Path, required=True, help="ends with .csv or .parquet")
    parser.add_argument("--from", type=_day, dest="from_ms", default=0, help="first day, 2026-01-31, UTC")
    parser.add_argument("--to", type=_day, dest="to_ms", help="the day after the last one")
    parser.add_argument(
        "--prompts", action="store_true", help="with what was asked and answered, of the calls for which that is kept"
    )
    parser.set_defaults(run=_export)


def _day(text: str) -> int:
    """Its first millisecond since 1970."""
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("expected a day such as 2026-01-31") from None
    return int(datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC).timestamp()) * 1000


def _export(options: argparse.Namespace) -> int:
    from routewright.accounts.export import export

    url = database_url(options)
    return export(
        options.data_dir, os.environ, options.out, from_ms=options.from_ms, to_ms=options.to_ms, database_url=url,
        with_texts=options.prompts,
    )  # fmt: skip


KEY_ACTIONS = ("generate", "update", "delete", "regenerate", "block", "unblock", "info", "list", "aliases")


def _add_keys(commands: Commands) -> None:
    parser = command(commands, "keys", "Virtual keys in the store, whether a gateway runs on it or not.")
    parser.add_argument("action", choices=KEY_ACTIONS, help="as the calls of /key/...")
    parser.add_argument(
        "words", nargs="*", metavar="KEY|FIELD=VALUE",
        help="keys or hashes; fields as /key/generate has them, such as key_alias=ci models=auto,gpt-4o max_budget=5",
    )  # fmt: skip
    add_data_dir(parser)
    add_config(parser)
    parser.set_defaults(run=_keys)


def _keys(options: argparse.Namespace) -> int:
    from routewright.management.commands import keys_command

    return keys_command(options.action, options.words, options.data_dir, database_url(options))


def _add_import_litellm(commands: Commands) -> None:
    parser = command(
        commands, "import-litellm", "Take keys, teams, users, budgets and models out of a LiteLLM database."
    )
    parser.add_argument("source", metavar="DATABASE_URL", help="LiteLLM's Postgres; it is only read")
    add_data_dir(parser)
    add_config(parser)
    parser.set_defaults(run=_import_litellm)


def _import_litellm(options: argparse.Namespace) -> int:
    from routewright.management.litellm import import_command

    address, secret = database_and_seal(options)
    return import_command(options.source, options.data_dir, address, secret)
