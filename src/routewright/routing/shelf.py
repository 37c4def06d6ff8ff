"""The router files that served lately, kept so that an earlier one can be put back when a new one disappoints."""

from __future__ import annotations

import logging
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from routewright.errors import ArtefactRefused
from routewright.routing.container import unpack

FOLDER = "earlier"
KEPT = 5
"""Files of one name."""
_NAME = re.compile(r"(.+)-([0-9a-f]{12})\.safetensors\Z")
log = logging.getLogger("routewright")


@dataclass(frozen=True, slots=True)
class Kept:
    """One file that has served."""

    artefact: str
    """The first twelve digits of its SHA-256, as answers and records name it."""
    path: Path
    served_at_s: float
    """When it was last loaded, since 1970."""


def keep(folder: Path, path: Path, sha256: str) -> None:
    """Keep what lies at `path`, if it still is what was loaded. Where the disk does not take it, serving goes on."""
    shelf = folder / FOLDER
    kept = shelf / f"{path.stem}-{sha256[:12]}.safetensors"
    try:
        if kept.exists():
            os.utime(kept)
            return
        content = path.read_bytes()
        if unpack(content).sha256 != sha256:
            return
        shelf.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(f".{os.getpid()}.partial")
        partial.write_bytes(content)
        partial.replace(kept)
        for old in kept_of(folder, path)[KEPT:]:
            old.path.unlink(missing_ok=True)
    except ArtefactRefused:
        return  # it was replaced meanwhile, by what can't be loaded
    except OSError as error:
        log.warning("router file %s can't be kept for later: %s", path.name, error.strerror)


def kept_of(folder: Path, path: Path) -> list[Kept]:
    """What has served in the place of `path`, the last first."""
    found = []
    with suppress(OSError):
        for file in (folder / FOLDER).iterdir():
            name = _NAME.fullmatch(file.name)
            if name is not None and name[1] == path.stem:
                found.append(Kept(name[2], file, file.stat().st_mtime))
    return sorted(found, key=lambda each: -each.served_at_s)


def put_back(kept: Kept, path: Path) -> None:
    """Put a file that was kept where it served, whole or not at all. Raises OSError."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(kept.path.read_bytes())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
