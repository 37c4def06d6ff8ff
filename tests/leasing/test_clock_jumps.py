"""A machine's clock jumps by an hour and by a day, forward and back: no window opens twice, and none locks."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.gateway import Gateway, running
from harness.upstream import Upstream
from harness.valkey import ValkeyServer
from harness.wire import secret
from leasing.conftest import PATIENT, many, passed
from money.answers import uses_all
from money.conftest import ANSWER_USD, MAX_TOKENS, priced_config, wait_for_the_ledger

COMPILER = shutil.which("cc")
SOURCE = Path(harness.__file__).parent / "jumping_clock.c"
MINUTE, DAY, FOREVER = secret("jump-minute"), secret("jump-day"), secret("jump-forever")
HOUR_S, DAY_S = 3600, 86_400
PAID = {"model": "paid", "max_tokens": MAX_TOKENS}
# Not libfaketime: its clock_nanosleep (0.9.10) refuses Python's sleeps once the monotonic clock is left alone.
pytestmark = pytest.mark.skipif(COMPILER is None or sys.platform != "linux", reason="needs a C compiler, and Linux")


class Jumping:
    """Two gateways on one Valkey; the clock of the first, and of all its processes, is set at will."""

    def __init__(self, gateways: list[Gateway], clock: Path) -> None:
        self.gateways = gateways
        self._clock = clock

    def jump_to(self, seconds: int) -> None:
        """So far from the true time."""
        with self._clock.open("r+b") as file:
            file.write(seconds.to_bytes(8, sys.byteorder, signed=True))


@pytest.fixture(scope="module")
def jumping(
    upstream: Upstream, valkey_server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Jumping]:
    folder = tmp_path_factory.mktemp("clock")
    clock, library = folder / "offset", folder / "jumping_clock.so"
    clock.write_bytes(bytes(8))
    assert COMPILER is not None
    subprocess.run([COMPILER, "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    config: dict[str, Any] = priced_config(upstream, router_settings={"redis_url": valkey_server.url})
    config["litellm_settings"] = {"cache_params": {"type": "redis", "namespace": "jumps"}}
    config["keys"] += [
        {"key": MINUTE, "alias": "minute", "rpm_limit": 50},
        {"key": DAY, "alias": "day", "max_budget": 5 * ANSWER_USD, "budget_duration": "1d"},
        {"key": FOREVER, "alias": "forever", "max_budget": 5 * ANSWER_USD},
    ]
    uses_all(upstream["paid"], gap_s=0)
    faked = {**PATIENT, "LD_PRELOAD": str(library), "JUMPING_CLOCK": str(clock)}
    with running(config, environment=faked) as one, running(config, environment=PATIENT) as other:
        for gateway in (one, other):
            wait_for_the_ledger(gateway)
        yield Jumping([one, other], clock)


@pytest.fixture(autouse=True)
def back_in_time(jumping: Jumping) -> Iterator[None]:
    yield
    jumping.jump_to(0)


def test_a_minute_is_one_minute_whatever_one_machine_s_clock_does(jumping: Jumping) -> None:
    """F29, T9, R23."""
    assert passed(many(jumping.gateways, MINUTE, 20, **PAID)) == 20
    admitted = 20
    for offset in (HOUR_S, -HOUR_S, DAY_S):
        jumping.jump_to(offset)
        admitted += passed(many(jumping.gateways, MINUTE, 12, **PAID))
    assert admitted == 50
    jumping.jump_to(-DAY_S)
    assert passed(many(jumping.gateways, MINUTE, 20, **PAID)) == 0


def test_a_day_s_budget_is_a_day_s_and_is_found_again(jumping: Jumping) -> None:
    """F29: tomorrow has a budget of its own, and today's is spent when the clock comes back to it."""
    one = jumping.gateways[:1]
    assert passed(many(one, DAY, 16, **PAID)) == 5
    jumping.jump_to(DAY_S)
    assert passed(many(one, DAY, 16, **PAID)) == 5
    for offset in (0, DAY_S, 0):
        jumping.jump_to(offset)
        assert passed(many(one, DAY, 4, **PAID)) == 0
    jumping.jump_to(2 * DAY_S)
    assert passed(many(one, DAY, 16, **PAID)) == 5


def test_a_budget_without_end_is_never_reset_and_never_locked(jumping: Jumping) -> None:
    """F29, L."""
    admitted = 0
    for offset in (0, HOUR_S, -HOUR_S, DAY_S):
        jumping.jump_to(offset)
        admitted += passed(many(jumping.gateways, FOREVER, 1, **PAID))
    assert admitted == 4
    assert passed(many(jumping.gateways, FOREVER, 16, **PAID)) == 1
