"""F35 of RELIABILITY.md: upstreams behind TLS are who they should be, or hear nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.certificates import Authority
from harness.gateway import Gateway, base_config, deployment, running
from harness.upstream import Upstream
from harness.wire import assert_error

STRANGERS = ("expired", "another-host", "another-authority")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Upstream]]]:
    """The bundle that the gateway trusts, and an upstream for each certificate."""
    folder = tmp_path_factory.mktemp("certificates")
    ours, theirs = Authority(folder), Authority(folder, "another")
    contexts = {
        "good": ours.server("localhost"),
        "expired": ours.server("localhost", lasts_days=-1),
        "another-host": ours.server("upstream.example"),
        "another-authority": theirs.server("localhost"),
    }
    made = {name: Upstream(context) for name, context in contexts.items()}
    with ExitStack() as stack:
        for server in made.values():
            stack.callback(server.close)
        yield ours.file, made


@pytest.fixture(scope="module")
def verifying(upstream: Upstream, servers: tuple[Path, dict[str, Upstream]]) -> Iterator[Gateway]:
    bundle, made = servers
    config = base_config(
        upstream,
        router_settings={"num_retries": 0, "disable_cooldowns": True},
        litellm_settings={"ssl_verify": str(bundle)},
    )
    config["model_list"] += [deployment(name, server, name) for name, server in made.items()]
    with running(config) as gateway:
        yield gateway


@pytest.mark.parametrize("stream", [False, True])
def test_upstream_that_the_bundle_vouches_for_answers(stream: bool, verifying: Gateway) -> None:
    assert verifying.chat(model="good", stream=stream).text == "Hello from good"


@pytest.mark.parametrize("name", STRANGERS)
def test_upstream_that_is_somebody_else_hears_nothing(
    name: str, verifying: Gateway, servers: tuple[Path, dict[str, Upstream]]
) -> None:
    """F35: 502, and neither credential nor prompt goes out."""
    _, made = servers

    reply = verifying.chat(model=name)

    assert_error(reply, 502, "upstream_error", type="api_error")
    assert made[name][name].hits == 0
    assert verifying.record_of(reply)["cost_nusd"] == 0


def test_without_a_bundle_the_systems_store_decides(
    upstream: Upstream, servers: tuple[Path, dict[str, Upstream]]
) -> None:
    _, made = servers
    config = base_config(upstream, router_settings={"num_retries": 0})
    config["model_list"].append(deployment("good", made["good"], "good"))
    before = made["good"]["good"].hits

    with running(config) as gateway:
        assert_error(gateway.chat(model="good"), 502, "upstream_error", type="api_error")

    assert made["good"]["good"].hits == before
