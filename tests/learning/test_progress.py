from __future__ import annotations

import io

from rich.console import Console

from routewright.learning.progress import Progress


def test_a_terminal_gets_a_bar_and_anything_else_plain_lines():
    file, terminal = io.StringIO(), io.StringIO()
    for out, is_terminal in ((file, False), (terminal, True)):
        console = Console(file=out, force_terminal=is_terminal, width=80)
        with Progress(console, "reading [x]", steps=2) as progress:
            progress.step("one [red]")
            progress.step("two")
    assert file.getvalue() == "reading [x]: one [red]\nreading [x]: two\n"
    assert "━" in terminal.getvalue()
