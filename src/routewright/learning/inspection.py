"""`routewright inspect`: what a router file holds, whether it would be loaded, and who signed it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from routewright.errors import ArtefactRefused
from routewright.routing.artefact import read_artefact
from routewright.routing.container import read_whole, unpack
from routewright.signatures import base64_of


def inspect_command(path: Path, *, as_json: bool) -> int:
    """Print what the file holds. 0 for one that loads, 1 for one that is refused, 2 for one that can't be read."""
    try:
        found = inspected(path)
    except ArtefactRefused as error:
        print(error.message, file=sys.stderr)
        return 2
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        _print(found)
    return 0 if found["refused"] is None else 1


def inspected(path: Path) -> dict[str, Any]:
    """What the file holds, as JSON values. Raises ArtefactRefused where nothing of it can be told."""
    try:
        content = read_whole(path)
        contents = unpack(content)
    except ArtefactRefused as error:
        raise ArtefactRefused(f'router file "{path.name}" refused: {error.message}') from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ArtefactRefused(f'router file "{path.name}" refused: its header is damaged: {error}') from None
    refused = None
    try:
        read_artefact(path)
    except ArtefactRefused as error:
        refused = error.message
    return {
        "path": str(path),
        "bytes": len(content),
        "sha256": contents.sha256,
        "signed_by": None if contents.signed_by is None else base64_of(bytes.fromhex(contents.signed_by)),
        "refused": refused,
        "header": contents.header,
        "arrays": {
            name: {"type": array.dtype.name, "shape": list(array.shape), "bytes": array.nbytes}
            for name, array in sorted(contents.arrays.items())
        },
    }


def _print(found: Mapping[str, Any]) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    header = _cleaned(found["header"])
    say = console.print
    say(f"{found['path']}: {found['bytes']:,} bytes, sha256 {found['sha256']}")
    say("loads: " + ("yes" if found["refused"] is None else f"no: {found['refused']}"))
    signed = found["signed_by"]
    say("signed: " + ("no" if signed is None else f"by {signed}, to be checked with `routewright verify`"))
    say(f"format version {header.get('format_version')}, created {header.get('created') or '(not said)'}")
    for part in ("router", "features"):
        spec = header.get(part)
        if isinstance(spec, dict):
            say(f"{part}: {spec.get('name')} {json.dumps(spec.get('arguments', {}))}")
    for part in ("training", "metrics", "gate"):
        values = header.get(part)
        if isinstance(values, dict):
            say(f"{part}: " + (", ".join(f"{name} {_short(value)}" for name, value in values.items()) or "(nothing)"))
    labels = header.get("labels")
    if isinstance(labels, list):
        say(_labels([label for label in labels if isinstance(label, dict)], str(header.get("scale", "own"))))
    table = Table("array", "type", "shape", "bytes", box=SIMPLE_HEAD, title="arrays", title_justify="left")
    for name, array in found["arrays"].items():
        table.add_row(_cleaned(name), array["type"], " x ".join(map(str, array["shape"])), f"{array['bytes']:,}")
    say(table)


def _cleaned(value: Any) -> Any:
    """Header values with nothing in them that a terminal would obey."""
    if isinstance(value, str):
        return "".join(character if character.isprintable() else "?" for character in value)
    if isinstance(value, dict):
        return {_cleaned(name): _cleaned(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_cleaned(part) for part in value]
    return value


def _labels(labels: list[dict[str, Any]], scale: str) -> Table:
    table = Table(box=SIMPLE_HEAD, title=f"labels: what it rates; quality on scale {scale}", title_justify="left")
    for name in ("label", "role", "quality", "output tokens", "USD per million in", "out"):
        table.add_column(name, justify="left" if name in ("label", "role") else "right")
    for label in labels:
        prices = (label.get("input_usd_per_token"), label.get("output_usd_per_token"))
        table.add_row(
            str(label.get("name")),
            str(label.get("role", "model")),
            _short(label.get("quality")),
            _short(label.get("output_tokens")),
            *("" if not isinstance(price, (int, float)) else f"{price * 1e6:.4g}" for price in prices),
        )
    return table


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
