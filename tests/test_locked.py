"""T19, R8: what is installed is what was looked at, every requirement by version and hash; nothing runs at install."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(ROOT.glob("requirements*.txt"))


def entries(file: Path) -> list[str]:
    """One a requirement, its continued lines joined, comments left out."""
    lines = [line for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip()]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_requirement_has_one_version_and_hashes(file: Path) -> None:
    found = entries(file)
    assert found
    for entry in found:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z0-9, ._-]+\])?==[^\s=*]+\s", entry), entry
        hashes = re.findall(r"--hash=(\S+)", entry)
        assert hashes, entry
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), entry
        assert not re.search(r"https?://|git\+|--(extra-)?index-url|--trusted-host|--find-links", entry), entry


def test_every_install_of_ours_asks_for_the_hashes() -> None:
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    installs = [line for line in makefile.splitlines() if re.search(r"install .*-r ", line)]
    assert installs
    assert all("--require-hashes" in line for line in installs), installs


def test_nothing_of_ours_runs_at_install_or_before_it_is_imported() -> None:
    """A `.pth` file is run by every start of the interpreter; a setup.py by an install."""
    ours = [path for path in ROOT.rglob("*") if ".venv" not in path.parts and path.suffix == ".pth"]
    assert not ours
    assert not (ROOT / "setup.py").exists()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "backend-path" not in project["build-system"], "a build backend of our own would run at install"
    assert not list((ROOT / "src").rglob("sitecustomize.py")) + list((ROOT / "src").rglob("usercustomize.py"))
