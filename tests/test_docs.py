"""What the pages tell people to type is what the program takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from routewright.cli import make_parser

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.DOTALL | re.MULTILINE)


def commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for block in BLOCK.findall(page.read_text()):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("routewright "):
                    found.append((page.name, line))
    return found


def test_the_pages_show_commands():
    assert {page for page, _ in commands()} >= {"README.md", "routers.md"}


@pytest.mark.parametrize(("page", "line"), commands())
def test_a_command_of_a_page_is_one_that_the_program_takes(page, line, capsys):
    words = shlex.split(line, comments=True)[1:]
    try:
        options = make_parser().parse_args(words)
    except SystemExit:
        pytest.fail(f"{page}: {line}: {capsys.readouterr().err}")
    assert callable(options.run)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_other_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("reference/"):  # made when the site is built, which looks at its own links
            assert (page.parent / target).exists(), target
