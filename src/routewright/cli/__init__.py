"""The command line; one module a group of commands.

Written with argparse: `serve` is the process that stays, and a richer library costs it 7 MB for as long as it runs.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import NoReturn

# Routing multiplies small arrays on the loop's own thread; a pool of BLAS threads would cost memory and save nothing.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from routewright import __version__
from routewright.cli import accounts, router_files, routers, serving


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="routewright",
        description="An OpenAI-compatible gateway that learns which model to send each request to.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"routewright {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for group in (serving, accounts, routers, router_files):
        group.add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The `routewright` command; ends the process with its status."""
    options = make_parser().parse_args(arguments)
    raise SystemExit(options.run(options))
