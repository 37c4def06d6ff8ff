"""Each way that a configuration can name a server by, against real ones: two machines share one limit over it."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.between import between
from harness.certificates import self_signed
from harness.valkey import Cluster, Sentinels, ValkeyServer
from leasing.doors import machines, nobody_waits
from routewright.config import load_text
from routewright.leasing.fitness import facts_of, fault_of, warning_of
from routewright.settings import ValkeySettings
from routewright.valkey.connection import ValkeyLost
from routewright.valkey.whereabouts import connect, slot_of

BASE = {"model_list": [], "general_settings": {"master_key": "sk-1"}}
PASSWORD = "a pass/word:@"


def settings_of(cache_params: dict[str, Any] | None = None, **router: Any) -> ValkeySettings:
    """As a configuration file says it."""
    config = {**BASE, "router_settings": router}
    if cache_params is not None:
        config["litellm_settings"] = {"cache_params": {"type": "redis", **cache_params}}
    found = load_text(yaml.safe_dump(config), environ={}).valkey
    assert found is not None
    return found


def six_of_ten(settings: ValkeySettings, owner: str = "a key") -> None:
    async def run() -> int:
        async with machines(None, owner, settings=settings) as (one, other):  # type: ignore[arg-type]
            one.calls(5)
            other.calls(5)
            await nobody_waits(one, other)
            assert not one.leasing._leases.is_away
            return one.passed + other.passed

    assert asyncio.run(run()) == 6


def refusal(settings: ValkeySettings) -> str:
    async def run() -> None:
        (await connect(settings)).close()

    with pytest.raises(ValkeyLost) as caught:
        asyncio.run(run())
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def locked() -> Iterator[ValkeyServer]:
    server = ValkeyServer("--requirepass", PASSWORD, "--aclfile", "")
    yield server
    server.close()


def test_password_and_numbered_database(locked: ValkeyServer) -> None:
    six_of_ten(settings_of(redis_host="127.0.0.1", redis_port=locked.port, redis_password=PASSWORD, redis_db=3))
    six_of_ten(settings_of(redis_url=f"redis://:a%20pass%2Fword%3A%40@127.0.0.1:{locked.port}/4"))
    assert "WRONGPASS" in refusal(settings_of(redis_host="127.0.0.1", redis_port=locked.port, redis_password="no"))
    assert "NOAUTH" in refusal(settings_of(redis_host="127.0.0.1", redis_port=locked.port))


def test_user_with_the_rights_that_the_documentation_gives_it(locked: ValkeyServer) -> None:
    page = (Path(__file__).parents[2] / "docs" / "limits.md").read_text()
    found = re.search(r"^ACL SETUSER routewright on >secret (.+)$", page, re.MULTILINE)
    assert found is not None
    admin = settings_of(redis_host="127.0.0.1", redis_port=locked.port, redis_password=PASSWORD)
    name = {"redis_host": "127.0.0.1", "redis_port": locked.port, "redis_username": "routewright"}

    async def make() -> None:
        connection = await connect(admin)
        await connection.ask(("ACL", "SETUSER", "routewright", "on", f">{PASSWORD}", *found.group(1).split()))
        connection.close()

    asyncio.run(make())
    six_of_ten(settings_of(**name, redis_password=PASSWORD))
    assert "WRONGPASS" in refusal(settings_of(**name, redis_password="no"))


def test_unix_socket(valkey_server: ValkeyServer) -> None:
    six_of_ten(settings_of(redis_url=f"unix://{valkey_server.socket}?db=2"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"), "DNS:localhost")


def test_tls_and_whom_it_trusts(valkey_server: ValkeyServer, certificate: tuple[Path, Path]) -> None:
    """The wheel's server is built without TLS, so a door before it speaks it, as stunnel or a load balancer does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.load_verify_locations(certificate[0])
    with between(valkey_server.port, context) as door:
        ca = str(certificate[0])
        six_of_ten(settings_of({"host": "localhost", "port": door.port, "ssl": True, "ssl_ca_certs": ca}), "by name")
        six_of_ten(settings_of(redis_url=f"rediss://127.0.0.1:{door.port}?ssl_cert_reqs=none"), "unverified")
        six_of_ten(settings_of(redis_url=f"rediss://127.0.0.1:{door.port}?ssl_ca_certs={ca}&ssl_check_hostname=false"),
                   "by address")  # fmt: skip
        assert "self-signed" in refusal(settings_of(redis_url=f"rediss://localhost:{door.port}"))
        other_name = settings_of(redis_url=f"rediss://127.0.0.1:{door.port}?ssl_ca_certs={ca}")
        assert "IP address mismatch" in refusal(other_name)
        context.verify_mode = ssl.CERT_REQUIRED
        own = {"ssl_certfile": ca, "ssl_keyfile": str(certificate[1])}
        six_of_ten(settings_of({"host": "localhost", "port": door.port, "ssl": True, "ssl_ca_certs": ca, **own}), "own")
        plain = settings_of(redis_host="127.0.0.1", redis_port=door.port)
        assert refusal(plain)


def test_cluster() -> None:
    """All that one script uses lies on one node, which any node names."""
    cluster = Cluster()
    try:
        six_of_ten(settings_of({"redis_startup_nodes": cluster.nodes}))
        six_of_ten(settings_of({"redis_startup_nodes": cluster.nodes[-1:], "namespace": "elsewhere"}))
        dead = [{"host": "127.0.0.1", "port": 1}]
        six_of_ten(settings_of({"startup_nodes": dead + cluster.nodes}), "beside a dead one")
        info = cluster.servers[0].ask("INFO")
        assert "redis_startup_nodes" in fault_of(facts_of(info), is_cluster_meant=False)
        assert fault_of(facts_of(info), is_cluster_meant=True) == ""
        for key in ("{routewright}:epoch", "routewright", "x{y}z", "{}a", "{", "ä{ö}ü", "a{b}{c}"):
            assert slot_of(key) == cluster.servers[0].ask("CLUSTER", "KEYSLOT", key)
    finally:
        cluster.close()


def test_sentinels_name_the_master(valkey_server: ValkeyServer) -> None:
    sentinels = Sentinels(1)
    try:
        six_of_ten(settings_of({"sentinel_nodes": sentinels.nodes, "service_name": "main"}))
        dead = [["127.0.0.1", 1]]
        six_of_ten(settings_of({"sentinel_nodes": dead + sentinels.nodes, "service_name": "main"}), "beside a dead one")
        assert 'knows no "other"' in refusal(settings_of({"sentinel_nodes": sentinels.nodes, "service_name": "other"}))
        facts = facts_of(sentinels.servers[1].ask("INFO"))
        assert "replica" in fault_of(facts, is_cluster_meant=False)
        facts = facts_of(sentinels.sentinels[0].ask("INFO"))
        assert "sentinel_nodes" in fault_of(facts, is_cluster_meant=False)
    finally:
        sentinels.close()


@pytest.mark.parametrize(
    ("version", "is_fit"), [("5.0.14", False), ("6.0.16", False), ("6.2.0", True), ("7.2.4", True), ("10.0", True)]
)
def test_versions(version: str, is_fit: bool, valkey_server: ValkeyServer) -> None:
    facts = facts_of(valkey_server.ask("INFO")) | {"redis_version": version}
    assert (fault_of(facts, is_cluster_meant=False) == "") is is_fit


def test_server_that_may_forget_leases_is_told_of(valkey_server: ValkeyServer) -> None:
    facts = facts_of(valkey_server.ask("INFO"))
    assert warning_of(facts) == ""
    assert "noeviction" in warning_of(facts | {"maxmemory": "1000000", "maxmemory_policy": "allkeys-lru"})
