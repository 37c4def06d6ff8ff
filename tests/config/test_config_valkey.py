"""Where the Valkey is: the router's words, the cache's, the environment's, in this order, as LiteLLM has them."""

from __future__ import annotations

from typing import Any

import pytest

from routewright.config import ConfigError, load_text
from routewright.config.environment import with_environment
from routewright.settings import ValkeySettings
from routewright.types import Secret

BASE = "model_list: []\ngeneral_settings: {master_key: sk-1}\n"


def found(text: str, **environ: str) -> ValkeySettings | None:
    return load_text(BASE + text, environ=environ).valkey


def test_none_where_nobody_speaks_of_one() -> None:
    assert found("") is None
    assert found("litellm_settings: {cache: true, cache_params: {type: local}}") is None


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("router_settings: {redis_host: h}", {}, {"host": "h"}),
        (
            "router_settings: {redis_host: h, redis_port: 7000, redis_password: p, redis_db: 3, redis_ssl: true}",
            {},
            {"host": "h", "port": 7000, "password": Secret("p"), "db": 3, "is_tls": True},
        ),
        ("router_settings: {redis_host: os.environ/R, redis_port: os.environ/P}", {"R": "h", "P": "7"},
         {"host": "h", "port": 7}),
        ("router_settings: {redis_host: h}", {"REDIS_PASSWORD": "p", "REDIS_PORT": "7"},
         {"host": "h", "port": 7, "password": Secret("p")}),
        ("router_settings: {redis_url: 'redis://u:p%40@h:7/2'}", {"REDIS_PASSWORD": "other"},
         {"host": "h", "port": 7, "username": "u", "password": Secret("p@"), "db": 2}),
        ("router_settings: {redis_url: 'rediss://h'}", {}, {"host": "h", "is_tls": True}),
        ("router_settings: {redis_url: 'unix:///run/v.sock?db=4'}", {}, {"path": "/run/v.sock", "db": 4}),
        ("litellm_settings: {cache_params: {type: redis, host: h, port: 7, namespace: ours}}", {},
         {"host": "h", "port": 7, "namespace": "ours"}),
        ("litellm_settings: {cache_params: {type: redis}}", {"REDIS_HOST": "h"}, {"host": "h"}),
        ("router_settings: {redis_host: one}\nlitellm_settings: {cache_params: {type: redis, host: other}}", {},
         {"host": "one"}),
        ("", {"REDIS_URL": "redis://h:7"}, {"host": "h", "port": 7}),
        ("", {"REDIS_HOST": "h", "REDIS_SSL": "True"}, {"host": "h", "is_tls": True}),
        ("environment_variables: {REDIS_HOST: h}", {}, {"host": "h"}),
        ("router_settings: {redis_url: 'rediss://h?ssl_cert_reqs=none&db=3'}", {},
         {"host": "h", "is_tls": True, "is_verified": False, "db": 3}),
        ("litellm_settings: {cache_params: {type: redis, host: h, ssl: true, ssl_check_hostname: false}}", {},
         {"host": "h", "is_tls": True, "is_host_checked": False}),
        ("litellm_settings: {cache_params: {type: redis, service_name: main, sentinel_password: s, password: p, "
         "sentinel_nodes: [[a, 1], [b, 2]]}}", {},
         {"sentinels": (("a", 1), ("b", 2)), "service_name": "main", "sentinel_password": Secret("s"),
          "password": Secret("p")}),
        ("litellm_settings: {cache_params: {type: redis, service_name: main, sentinel_password: s, "
         "sentinel_nodes: [[a, 1]]}}", {},
         {"sentinels": (("a", 1),), "service_name": "main", "sentinel_password": Secret("s"), "password": Secret("s")}),
        ("", {"REDIS_SENTINEL_NODES": '[["a", 1]]', "REDIS_SERVICE_NAME": "main", "REDIS_PASSWORD": "p"},
         {"sentinels": (("a", 1),), "service_name": "main", "password": Secret("p")}),
        ("router_settings: {redis_sentinel_nodes: [[a]], redis_service_name: main}", {},
         {"sentinels": (("a", 26379),), "service_name": "main"}),
        ("litellm_settings: {cache_params: {type: redis, redis_startup_nodes: [{host: a, port: '7001'}, {host: b}]}}",
         {}, {"cluster": (("a", 7001), ("b", 6379)), "namespace": "{routewright}"}),
        ("litellm_settings: {cache_params: {type: redis, startup_nodes: [{host: os.environ/A}], namespace: 'x{y}'}}",
         {"A": "a"}, {"cluster": (("a", 6379),), "namespace": "x{y}"}),
        ("", {"REDIS_CLUSTER_NODES": '[{"host": "a", "port": "7001"}]', "REDIS_HOST": "h"},
         {"cluster": (("a", 7001),), "namespace": "{routewright}"}),
    ],
)  # fmt: skip
def test_every_place_is_read(text: str, environ: dict[str, str], expected: dict[str, Any]) -> None:
    assert found(text, **environ) == ValkeySettings(**expected)


@pytest.mark.parametrize(
    ("text", "environ", "message"),
    [
        ("router_settings: {redis_host: os.environ/R}", {}, "router_settings.redis_host: the variable R is not set"),
        ("router_settings: {redis_url: 'http://:c4n4ry@h'}", {}, "router_settings.redis_url: expected an address"),
        ("router_settings: {redis_url: 'redis://h/x'}", {}, "router_settings.redis_url: expected redis://"),
        ("router_settings: {redis_url: 'redis://h?ssl_cert_reqs=none'}", {}, "options in the address"),
        ("router_settings: {redis_url: 'rediss://h?socket_timeout=1'}", {}, "options in the address"),
        ("router_settings: {redis_url: 'rediss://h?ssl_cert_reqs=optional'}", {}, "ssl_cert_reqs: expected required"),
        (
            "router_settings: {redis_host: h, redis_ssl: true, redis_ssl_ca_certs: /nowhere/ca.pem}",
            {},
            "redis_ssl_ca_certs: can't be used: No such file",
        ),
        ("router_settings: {redis_sentinel_nodes: [[a, 1]]}", {}, "redis_sentinel_nodes: service_name has to say"),
        ("router_settings: {redis_service_name: main}", {}, "redis_service_name: names a master, but"),
        (
            "litellm_settings: {cache_params: {type: redis, sentinel_nodes: [[a, x]], service_name: m}}",
            {},
            "cache_params.sentinel_nodes: an entry's port is none",
        ),
        (
            "litellm_settings: {cache_params: {type: redis, redis_startup_nodes: []}}",
            {},
            "cache_params.redis_startup_nodes: expected a list of hosts and ports",
        ),
        (
            "litellm_settings: {cache_params: {type: redis, startup_nodes: [{host: a, ssl: true}]}}",
            {},
            "cache_params.startup_nodes: expected entries of host and port only",
        ),
        (
            "litellm_settings: {cache_params: {type: redis, startup_nodes: [{host: a}], db: 3}}",
            {},
            "cache_params.db: a cluster has no numbered databases",
        ),
        ("", {"REDIS_CLUSTER_NODES": "a:7001"}, "REDIS_CLUSTER_NODES: expected a list, as JSON"),
        ("router_settings: {redis_host: h, redis_port: 70000}", {}, "router_settings.redis_port: expected 65535"),
        ("router_settings: {redis_hots: h}", {}, 'did you mean "redis_host"'),
        ("", {"REDIS_HOST": "h", "REDIS_PORT": "tcp://10.0.0.1:6379"}, "REDIS_PORT: expected a number"),
    ],
)
def test_faults_are_named_and_show_no_credential(text: str, environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        found(text, **environ)
    assert message in str(caught.value)
    assert "c4n4ry" not in str(caught.value)


def test_second_way_in_one_place_and_a_type_without_address_are_told() -> None:
    text = "router_settings: {redis_host: h, redis_url: 'redis://u'}"
    settings = load_text(BASE + text, environ={})
    assert settings.valkey is not None
    assert settings.valkey.host == "u"
    assert any("redis_host: not used: redis_url stands beside it" in warning for warning in settings.warnings)
    settings = load_text(BASE + "litellm_settings: {cache_params: {type: redis}}", environ={})
    assert any("no Redis to share limits by" in warning for warning in settings.warnings)


def test_time_a_request_waits_comes_from_the_environment() -> None:
    settings = load_text(BASE + "router_settings: {redis_host: h}", environ={})
    shared = with_environment(settings, {"ROUTEWRIGHT_VALKEY_TIMEOUT_S": "0.5"}).valkey
    assert shared is not None
    assert shared.timeout_s == 0.5
    with pytest.raises(ValueError, match="ROUTEWRIGHT_VALKEY_TIMEOUT_S"):
        with_environment(settings, {"ROUTEWRIGHT_VALKEY_TIMEOUT_S": "-1"})
