"""Router files and other tools' data: inspect, sign, verify, import-llmrouter, export-llmrouter."""

from __future__ import annotations

import argparse
from pathlib import Path

from routewright.cli.options import Commands, command


def add(commands: Commands) -> None:
    _add_inspect(commands)
    _add_sign(commands)
    _add_verify(commands)
    _add_import_llmrouter(commands)
    _add_export_llmrouter(commands)


def _add_inspect(commands: Commands) -> None:
    parser = command(commands, "inspect", "Show what a router file holds, whether it would load, and who signed it.")
    parser.add_argument("file", type=Path, help="a router file")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    from routewright.learning.inspection import inspect_command

    return inspect_command(options.file, as_json=options.json)


def _add_sign(commands: Commands) -> None:
    parser = command(commands, "sign", "Sign a router file with an Ed25519 key, or make such a key.")
    parser.add_argument("file", type=Path, nargs="?", help="a router file")
    parser.add_argument("--key", type=Path, help="the private key, a PEM file")
    parser.add_argument("--out", type=Path, help="write the signed file here instead of in place")
    parser.add_argument("--new-key", type=Path, metavar="PATH", help="make a key pair: PATH, and PATH.pub to hand out")
    parser.set_defaults(run=_sign)


def _sign(options: argparse.Namespace) -> int:
    from routewright.learning.signing import sign_command

    return sign_command(options.file, options.key, options.new_key, options.out)


def _add_verify(commands: Commands) -> None:
    parser = command(commands, "verify", "Check that a router file is sound and signed by a key you know.")
    parser.add_argument("file", type=Path, help="a router file")
    parser.add_argument("--key", required=True, action="append", help="a public key: PEM file or base64; may repeat")
    parser.set_defaults(run=_verify)


def _verify(options: argparse.Namespace) -> int:
    from routewright.learning.signing import verify_command

    return verify_command(options.file, options.key)


def _add_import_llmrouter(commands: Commands) -> None:
    parser = command(commands, "import-llmrouter", "Make a set of LLMRouter's data, to fit a router on.")
    parser.add_argument("config", type=Path, nargs="?", help="a configuration of LLMRouter, YAML")
    parser.add_argument("--llm-data", type=Path, help="candidates, JSON; in place of the configuration's")
    parser.add_argument("--routing-train", type=Path, help="routing records, JSON lines; likewise")
    parser.add_argument("--routing-test", type=Path, help="routing records, JSON lines; likewise")
    parser.add_argument("--root", type=Path, help="folder that the configuration's paths start from")
    parser.add_argument("--out", type=Path, required=True, help="the folder of sets to write to")
    parser.add_argument("--set", required=True, metavar="NAME", help="what the set is to be called")
    parser.set_defaults(run=_import_llmrouter)


def _import_llmrouter(options: argparse.Namespace) -> int:
    from routewright.learning.llmrouter_commands import import_command

    return import_command(
        options.config, options.llm_data, options.routing_train, options.routing_test, options.root, options.out,
        options.set,
    )  # fmt: skip


def _add_export_llmrouter(commands: Commands) -> None:
    parser = command(commands, "export-llmrouter", "Write a set as LLMRouter's files.")
    parser.add_argument("--data", type=Path, required=True, help="a folder in the layout of CONTRIBUTING.md")
    parser.add_argument("--set", required=True, metavar="NAME", help="the set's name in that folder")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to")
    parser.set_defaults(run=_export_llmrouter)


def _export_llmrouter(options: argparse.Namespace) -> int:
    from routewright.learning.llmrouter_commands import export_command

    return export_command(options.data, options.set, options.out)
