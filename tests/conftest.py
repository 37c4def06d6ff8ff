"""Shared by every test that talks to a real gateway: one upstream and a few gateways for the whole run."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

# Where Python is told to keep no bytecode, every gateway of some hundreds would compile anew all that it imports.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    os.environ["PYTHONPYCACHEPREFIX"] = str(Path(__file__).resolve().parent.parent / ".pytest_cache" / "bytecode")
    sys.dont_write_bytecode, sys.pycache_prefix = False, os.environ["PYTHONPYCACHEPREFIX"]

# As the product does: two threads that wait for each other on a busy machine take many times as long as one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from harness.accounts import Accounts
from harness.gateway import Gateway, base_config, deployment, running
from harness.models import Model
from harness.postgres import Postgres
from harness.taker import Taker
from harness.upstream import Upstream, closed_port, port_that_never_accepts

ONES, TWOS, HASTY_ONES = 120, 60, 250


TEST_TIMEOUT_S = 120


def pytest_configure(config: pytest.Config) -> None:
    """A run that is told to end ends its gateways too."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A test that hangs fails by name."""

    def give_up(*_: object) -> None:
        raise AssertionError(f"not done after {TEST_TIMEOUT_S} s")

    before = signal.signal(signal.SIGALRM, give_up)
    is_unbounded = os.environ.get("ROUTEWRIGHT_FUZZ_SECONDS") or os.environ.get("ROUTEWRIGHT_LONG")
    signal.alarm(0 if is_unbounded else TEST_TIMEOUT_S)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


_upstreams: list[Upstream] = []


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    _upstreams.append(server)
    yield server
    server.close()


@pytest.fixture(scope="module", autouse=True)
def _forget_scripts() -> Iterator[None]:
    """What one file told a deployment to do is not done for the next one that has a deployment of that name."""
    yield
    for server in _upstreams:
        server.forget()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(scope="session")
def unreachable(upstream: Upstream) -> Iterator[list[dict[str, Any]]]:
    """Models whose first deployment refuses a connection, or never accepts one."""
    with closed_port() as refusing, port_that_never_accepts() as silent:
        entries = []
        for name, port in (("refused", refusing), ("unaccepted", silent)):
            address = f"http://127.0.0.1:{port}/v1"
            entries += [
                deployment(name, upstream, name, api_base=address),
                deployment(f"{name}-first", upstream, f"{name}-first", api_base=address, order=1),
                deployment(f"{name}-first", upstream, f"{name}-second", order=2),
            ]
        yield entries


@pytest.fixture(scope="session")
def gateway(upstream: Upstream, unreachable: list[dict[str, Any]]) -> Iterator[Gateway]:
    """One worker with the settings most sites have: retries, cooldown, limits, the default router."""
    config = base_config(
        upstream,
        ones=ONES,
        twos=TWOS,
        router_settings={
            "fallbacks": [{"falls-back": ["gpt-4o"]}],
            "context_window_fallbacks": [{"too-long": ["gpt-4o"]}],
            "content_policy_fallbacks": [{"too-strict": ["gpt-4o"]}],
        },
    )
    config["model_list"] += unreachable
    config["model_list"] += [deployment(name, upstream, name) for name in ("falls-back", "too-long", "too-strict")]
    with running(config) as started:
        yield started


@pytest.fixture(scope="session")
def steady(upstream: Upstream) -> Iterator[Gateway]:
    """One worker that neither retries nor cools down, for tests with thousands of failures."""
    settings = {"num_retries": 0, "disable_cooldowns": True}
    with running(base_config(upstream, ones=4, router_settings=settings)) as started:
        yield started


@pytest.fixture(scope="session")
def hasty(upstream: Upstream, unreachable: list[dict[str, Any]]) -> Iterator[Gateway]:
    """One worker whose time limits are short."""
    environment = {
        "ROUTEWRIGHT_FRONT_HEAD_TIMEOUT_S": "1",
        "ROUTEWRIGHT_FRONT_BODY_TIMEOUT_S": "2",
        "ROUTEWRIGHT_FRONT_IDLE_TIMEOUT_S": "1.5",
        "ROUTEWRIGHT_FRONT_WRITE_STALL_TIMEOUT_S": "1.5",
        "ROUTEWRIGHT_FRONT_MAX_IN_FLIGHT_BYTES": "3000000",
        "ROUTEWRIGHT_UPSTREAM_CONNECT_TIMEOUT_S": "0.5",
        "ROUTEWRIGHT_UPSTREAM_FIRST_BYTE_TIMEOUT_S": "1",
        "ROUTEWRIGHT_UPSTREAM_IDLE_TIMEOUT_S": "1.5",
        "ROUTEWRIGHT_UPSTREAM_TOTAL_TIMEOUT_S": "3",
        "ROUTEWRIGHT_UPSTREAM_PING_INTERVAL_S": "0.4",
        "ROUTEWRIGHT_UPSTREAM_MAX_RESPONSE_BYTES": "2000000",
    }
    settings = {"num_retries": 0, "disable_cooldowns": True}
    config = base_config(upstream, ones=HASTY_ONES, router_settings=settings)
    config["model_list"] += unreachable
    with running(config, environment=environment) as started:
        yield started


_ones, _twos, _hasty_ones = count(), count(), count()


@pytest.fixture
def one(upstream: Upstream) -> Model:
    """A model of `gateway` with a single deployment."""
    name = f"one-{next(_ones):03}"
    return Model(name, upstream[name])


@pytest.fixture
def two(upstream: Upstream) -> Model:
    """A model of `gateway` with two deployments, tried in order."""
    name = f"two-{next(_twos):03}"
    return Model(name, upstream[f"{name}-first"], upstream[f"{name}-second"])


@pytest.fixture
def brief(upstream: Upstream) -> Model:
    """A model of `hasty` with a single deployment."""
    name = f"one-{next(_hasty_ones):03}"
    return Model(name, upstream[name])


@pytest.fixture(scope="module")
def taker() -> Iterator[Taker]:
    """Takes what passes through, in forms and otherwise."""
    server = Taker()
    yield server
    server.close()


@pytest.fixture(scope="module")
def accounts() -> Iterator[Accounts]:
    """Providers' accounts with files and batches."""
    server = Accounts()
    yield server
    server.close()
