"""What the server does with a budget it has lost: nothing spent is forgotten, and nothing is counted twice for good."""

from __future__ import annotations

import itertools
import time
from importlib import resources

import pytest

from harness.valkey import ValkeyServer

SCRIPT = resources.files("routewright.leasing").joinpath("budget.lua").read_text("utf-8")
_numbers = itertools.count(1)


class Asking:
    """A budget of 1000 on a server that has just lost it; a machine called `holder` tells what it knows."""

    def __init__(self, server: ValkeyServer, budget: str, untold_ms: int) -> None:
        self._server, self._budget, self._untold_ms = server, budget, untold_ms
        server.ask("SET", "script:epoch", "e")

    def __call__(self, holder: str, *, ledger: str, told: int, since: int, known: int, wanted: int = 0) -> list[int]:
        """{spent by all, given, left}."""
        return self._server.ask(
            "EVAL", SCRIPT, 2, "script:epoch", self._budget, "e", holder, next(_numbers), 2, ledger, told, since, 0,
            known, 1000, wanted, wanted, 1, 0, 15_000, 3_600_000, 60_000, "", self._untold_ms,
        )  # fmt: skip


def test_what_one_remembers_of_the_others_is_counted_until_they_tell(valkey_server: ValkeyServer) -> None:
    """F28."""
    ask = Asking(valkey_server, "script:each", untold_ms=0)
    assert ask("one", ledger="a", told=100, since=50, known=500)[0] == 500
    assert ask("other", ledger="b", told=300, since=60, known=500)[0] == 510
    assert ask("one", ledger="a", told=150, since=0, known=510)[0] == 510


@pytest.mark.parametrize("untold_ms", [20, 60_000])
def test_what_the_one_ledger_tells_meanwhile_is_not_counted_twice_for_good(
    valkey_server: ValkeyServer, untold_ms: int
) -> None:
    """F28: of 500 the ledger knew 300 and the first to come had spent 50 since; the other's 150 get there too."""
    ask = Asking(valkey_server, f"script:one-{untold_ms}", untold_ms)
    assert ask("one", ledger="shared", told=300, since=50, known=500)[0] == 500
    time.sleep(0.05)
    total, given, _ = ask("one", ledger="shared", told=500, since=0, known=500, wanted=400)
    assert (total, given) == ((500, 400) if untold_ms == 20 else (650, 0))
