"""F34 of RELIABILITY.md: a resolver that fails, hangs or says something else. The loop waits for none of it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.gateway import Gateway, base_config, deployment, eventually, running
from harness.upstream import Upstream
from harness.wire import assert_error

COMPILER = shutil.which("cc")
SOURCE = Path(harness.__file__).parent / "resolver.c"
HANGING = 8
FRESH_S = 0.2
pytestmark = pytest.mark.skipif(COMPILER is None or sys.platform != "linux", reason="needs a C compiler, and Linux")


class Named:
    """A gateway whose upstreams have names, and what those mean."""

    def __init__(self, gateway: Gateway, zone: Path) -> None:
        self.gateway = gateway
        self._zone = zone
        self._names: dict[str, str] = {}

    def mean(self, **names: str) -> None:
        """`good="127.0.0.1"` for `good.test`."""
        self._names.update(names)
        fresh = self._zone.with_suffix(".new")
        fresh.write_text("".join(f"{name}.test {answer}\n" for name, answer in self._names.items()))
        fresh.replace(self._zone)


def at_name(upstream: Upstream, host: str, **params: Any) -> dict[str, Any]:
    entry = deployment(params.pop("model_name", host), upstream, host, **params)
    entry["litellm_params"]["api_base"] = re.sub("127.0.0.1", f"{host}.test", entry["litellm_params"]["api_base"])
    return entry


@pytest.fixture(scope="module")
def named(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Named]:
    folder = tmp_path_factory.mktemp("names")
    library, zone = folder / "resolver.so", folder / "zone"
    assert COMPILER is not None
    subprocess.run([COMPILER, "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    config = base_config(upstream, router_settings={"num_retries": 0, "disable_cooldowns": True})
    config["model_list"] += [at_name(upstream, name) for name in ("good", "stale", "moved", "unknown", "two", "late")]
    config["model_list"] += [at_name(upstream, f"hang-{place}") for place in range(HANGING)]
    config["model_list"] += [
        at_name(upstream, "unknown", model_name="either", order=1),
        at_name(upstream, "good", model_name="either", order=2),
    ]
    environment = {
        "LD_PRELOAD": str(library),
        "RESOLVER_ZONE": str(zone),
        "ROUTEWRIGHT_UPSTREAM_NAME_FRESH_S": str(FRESH_S),
        "ROUTEWRIGHT_UPSTREAM_KEEPALIVE_S": "0.05",
        "ROUTEWRIGHT_UPSTREAM_CONNECT_TIMEOUT_S": "3",
    }
    zone.touch()
    with running(config, environment=environment) as gateway:
        found = Named(gateway, zone)
        found.mean(good="127.0.0.1", unknown="gone", **{f"hang-{place}": "hangs" for place in range(HANGING)})
        yield found


def rest() -> None:
    """Until kept connections are too old, and names are no longer fresh."""
    time.sleep(2 * FRESH_S)


def test_names_that_hang_hold_up_nobody_else(named: Named) -> None:
    """F34: more names hang than a pool of resolver's threads has; another name is found meanwhile."""
    with ThreadPoolExecutor(HANGING) as pool:
        hanging = [pool.submit(named.gateway.chat, model=f"hang-{place}") for place in range(HANGING)]
        time.sleep(0.3)
        assert named.gateway.chat(model="good").status == 200
        assert not any(each.done() for each in hanging)
        for each in hanging:
            assert_error(each.result(), 504, "upstream_timeout", type="api_error")


def test_name_nobody_knows_is_unavailable(named: Named) -> None:
    """F34 as F1; somebody else is asked where there is one."""
    assert_error(named.gateway.chat(model="unknown"), 503, "upstream_unavailable", type="api_error")
    assert named.gateway.chat(model="either", num_retries=1).status == 200


def test_where_a_name_last_was_serves_on_while_the_resolver_is_away(named: Named, upstream: Upstream) -> None:
    """F34: what was last known; and it is said once."""
    named.mean(stale="127.0.0.1")
    assert named.gateway.chat(model="stale").status == 200
    before = {request.connection for request in upstream["stale"].requests}

    named.mean(stale="gone")
    for _ in range(3):
        rest()
        assert named.gateway.chat(model="stale").status == 200

    assert {request.connection for request in upstream["stale"].requests} - before, "no new connection was made"
    said = re.findall(r"upstream stale\.test can't be looked up", named.gateway.output())
    assert len(said) == 1


def test_name_that_moves_is_followed(named: Named) -> None:
    """F34: though the old place takes no connections any more, and though it was fresh."""
    named.mean(moved="127.0.0.77")
    assert_error(named.gateway.chat(model="moved"), 503, "upstream_unavailable", type="api_error")

    named.mean(moved="127.0.0.1")

    eventually(lambda: named.gateway.chat(model="moved").status == 200)


def test_next_address_is_tried_where_the_first_takes_no_connection(named: Named) -> None:
    named.mean(two="127.0.0.77,127.0.0.1")

    for _ in range(3):
        assert named.gateway.chat(model="two").status == 200
        rest()


def test_name_that_comes_late_is_found(named: Named) -> None:
    named.mean(late="gone")
    assert_error(named.gateway.chat(model="late"), 503, "upstream_unavailable", type="api_error")

    named.mean(late="127.0.0.1")

    eventually(lambda: named.gateway.chat(model="late").status == 200)
