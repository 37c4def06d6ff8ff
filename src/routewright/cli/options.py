"""Options and habits that the commands share."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

if TYPE_CHECKING:
    from routewright.routing.features.contract import Supplies


class Commands(Protocol):
    """What `add_subparsers` gives; argparse has no public name for it."""

    def add_parser(self, name: str, **settings: Any) -> argparse.ArgumentParser: ...


def command(commands: Commands, name: str, about: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=about,
        description=about,
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )


def in_range(low: float, high: float, kind: Callable[[str], float] = int) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must lie in {low:g}..{high:g}")
        return value

    read.__name__ = "number"
    return read


def add_config(parser: argparse.ArgumentParser) -> None:
    named = os.environ.get("CONFIG_FILE_PATH")
    parser.add_argument(
        "--config", "-c", type=Path, default=Path(named) if named else None,
        help="a LiteLLM config.yaml, with our sections",
    )  # fmt: skip


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-dir", type=Path, default=Path(".data"), help="journal and fitted routers")


def add_lenient(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lenient-config", action="store_true", help="warn of unknown keys instead of stopping")


def add_data(parser: argparse.ArgumentParser) -> None:
    add_set(parser)
    parser.add_argument(
        "--features", default="hashed",
        help="how prompts become vectors: hashed, wordllama, minilm, remote, or several joined by +",
    )  # fmt: skip
    add_supplies(parser)
    parser.add_argument("--seed", type=int, default=0, help="of everything left to chance")


def add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="a folder in the layout of CONTRIBUTING.md")
    parser.add_argument("--set", required=True, metavar="NAME", help="the set's name in that folder")


def add_supplies(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, help='where the section "embeddings" stands, for remote')
    parser.add_argument(
        "--base-model", type=Path, metavar="DIR", help="the encoder that routerdc and causallm begin with"
    )
    parser.add_argument(
        "--encodings", type=Path, metavar="DIR", help="keep here what an encoder made of the prompts, for the next time"
    )


def supplies(options: argparse.Namespace) -> Supplies:
    from routewright.config import ConfigError, load_settings
    from routewright.routing.features.contract import Supplies

    supplies = Supplies(encodings=options.encodings, base_model=options.base_model)
    if options.config is None:
        return supplies
    try:
        settings = load_settings(options.config, environ=os.environ)
    except (ConfigError, ValueError) as error:
        fail(str(error))
    return dataclasses.replace(supplies, embeddings=settings.router.embeddings)


def database_url(options: argparse.Namespace) -> str | None:
    """The configuration's database, where one is named."""
    return database_and_seal(options)[0]


def database_and_seal(options: argparse.Namespace) -> tuple[str | None, str | None]:
    """(the configuration's database, what credentials in it are sealed with), where they are named."""
    from routewright.config import ConfigError, load_settings

    if options.config is None:
        return None, os.environ.get("LITELLM_SALT_KEY") or os.environ.get("LITELLM_MASTER_KEY") or None
    try:
        settings = load_settings(options.config, environ=os.environ)
    except ConfigError as error:
        fail(str(error))
    secret = settings.salt_key or settings.master_key
    return (
        None if settings.database_url is None else settings.database_url.reveal(),
        None if secret is None else secret.reveal(),
    )


def fail(message: str) -> NoReturn:
    print(f"routewright: {message}", file=sys.stderr)
    raise SystemExit(2)
