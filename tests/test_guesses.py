"""T1: wrong keys are counted by address, whatever a client claims its address to be; the table stays small."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from harness.admin import manage, new_key
from harness.gateway import MASTER_KEY, SMALL_KEY, TEAM_KEY, Gateway, base_config, eventually, running
from harness.upstream import Upstream
from harness.wire import assert_error
from routewright.errors import RateLimited
from routewright.guesses import MAX_ADDRESSES, Guesses

PROXY, CLIENT = "10.0.0.9", "203.0.113.7"


class Door:
    """Guesses with a clock of the test's."""

    def __init__(self, most: int = 3, trusted: tuple[str, ...] = ("10.0.0.0/8", "fd00::/8"), workers: int = 1) -> None:
        self.now = 100.0
        self.guesses = Guesses(monotonic=lambda: self.now, wall=lambda: 1e9 + self.now)
        self.guesses.configure(most, trusted, workers)

    def wrong(self, peer: str = CLIENT, forwarded: str | None = None, times: int = 1) -> None:
        for _ in range(times):
            self.guesses.note_wrong(peer, headers(forwarded))

    def good(self, key: str | None = "k", peer: str = CLIENT, forwarded: str | None = None) -> None:
        self.guesses.check(peer, headers(forwarded), key)


def headers(forwarded: str | None) -> dict[bytes, bytes]:
    return {} if forwarded is None else {b"x-forwarded-for": forwarded.encode("latin-1")}


def test_address_that_guesses_waits_for_the_minute_s_end_and_no_longer() -> None:
    door = Door()
    door.wrong(times=3)
    door.now += 20.2
    with pytest.raises(RateLimited) as caught:
        door.wrong()
    assert caught.value.retry_after_s == 40
    with pytest.raises(RateLimited):
        door.good()  # a right guess looks like a wrong one
    door.good(peer="203.0.113.8")
    door.now += caught.value.retry_after_s
    door.good()
    door.wrong(times=3)


def test_keys_that_were_good_before_go_on_from_an_address_that_guesses() -> None:
    door = Door()
    door.wrong()
    door.good("regular")
    door.wrong(times=2)
    door.good("regular")
    with pytest.raises(RateLimited):
        door.good("new")
    with pytest.raises(RateLimited):
        door.good(None)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        (CLIENT, None, CLIENT),
        (CLIENT, "198.51.100.1", CLIENT),  # nobody vouches for it
        (PROXY, "198.51.100.1", "198.51.100.1"),
        (PROXY, "1.2.3.4, 198.51.100.1", "198.51.100.1"),  # the client wrote the first one itself
        (PROXY, "198.51.100.1, 10.1.2.3", "198.51.100.1"),
        (PROXY, "198.51.100.1:4711", "198.51.100.1"),
        (PROXY, "nonsense", PROXY),
        (PROXY, "", PROXY),
        (PROXY, ",".join(["10.0.0.1"] * 1000), "10.0.0.1"),
        ("::ffff:203.0.113.7", None, CLIENT),
        ("2001:db8:1:2:3:4:5:6", None, "2001:db8:1:2::/64"),
        ("fd00::1", "[2001:db8:1:2:ffff::1]:443", "2001:db8:1:2::/64"),
        ("local", "198.51.100.1", "local"),
    ],
)
def test_address_is_the_last_that_nobody_trusted_vouches_for(peer: str, forwarded: str | None, address: str) -> None:
    assert Door().guesses.address_of(peer, headers(forwarded)) == address


def test_record_keeps_a_whole_address_of_version_6() -> None:
    guesses = Door().guesses
    assert guesses.caller_of("2001:db8:1:2:3:4:5:6", {}) == "2001:db8:1:2:3:4:5:6"
    assert guesses.caller_of("fd00::1", headers("[2001:db8::7]:443")) == "2001:db8::7"
    assert guesses.caller_of("local", headers(CLIENT)) == "local"


def test_client_can_not_choose_its_address() -> None:
    door = Door()
    for number in range(3):
        door.wrong(forwarded=f"198.51.100.{number}")
    with pytest.raises(RateLimited):
        door.wrong(forwarded="198.51.100.99")
    for _ in range(9):
        door.wrong(PROXY, f"198.51.100.{_}")


def test_table_is_bounded_and_empties_itself() -> None:
    door = Door()
    for number in range(MAX_ADDRESSES + 500):
        door.wrong(f"203.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(door.guesses.failing) == MAX_ADDRESSES
    door.guesses.on_tick(door.now + 119)
    assert door.guesses.failing
    door.guesses.on_tick(door.now + 120)
    assert not door.guesses.failing


def test_workers_share_the_limit_and_zero_is_none() -> None:
    half = Door(most=3, workers=2)
    half.wrong(times=2)
    with pytest.raises(RateLimited):
        half.wrong()
    none = Door(most=0)
    none.wrong(times=1000)
    assert not none.guesses.failing


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    settings = {"max_wrong_keys_per_minute": 5, "trusted_proxies": ["127.0.0.1"], "use_x_forwarded_for": True}
    with running(base_config(upstream, general_settings=settings)) as started:
        yield started


def test_guesser_is_told_to_wait_and_everybody_else_is_served(gateway: Gateway) -> None:
    """At the socket, through a proxy that is trusted: static keys, stored ones, cold ones, and the master's."""
    stored = new_key(gateway)
    guesser = {"X-Forwarded-For": "192.0.2.1, 198.51.100.1"}
    other = {"X-Forwarded-For": "198.51.100.1, 198.51.100.2"}
    assert_error(gateway.chat(key="no key", headers=guesser), 401, "invalid_api_key")
    assert gateway.chat(key=TEAM_KEY, headers=guesser).status == 200
    for number in range(4):
        assert_error(gateway.chat(key=f"sk-guess-{number}", headers=guesser), 401, "invalid_api_key")
    refused = gateway.chat(key="sk-guess-more", headers=guesser)
    assert_error(refused, 429, "rate_limit_exceeded")
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert refused.headers["rate_limit_type"] == "wrong_keys"
    for right_guess in (SMALL_KEY, stored, MASTER_KEY, "another"):
        reply = gateway.request("GET", "/router/info", key=right_guess, headers=guesser)
        assert_error(reply, 429, "rate_limit_exceeded")
        assert reply.error["message"].startswith("too many wrong keys from this address")
    assert gateway.chat(key=TEAM_KEY, headers=guesser).status == 200, "it was good from there before"
    assert gateway.request("GET", "/health", key=None, headers=guesser).status == 200
    for key in (SMALL_KEY, stored):
        assert gateway.chat("gpt-4o-mini", key=key, headers=other).status == 200


def test_spend_row_says_where_a_call_came_from_unless_that_is_not_to_be_kept(gateway: Gateway) -> None:
    forged = {"X-Forwarded-For": "192.0.2.1, 198.51.100.3"}

    def configured(**general: Any) -> Any:
        config = yaml.safe_load(gateway.config_file.read_text())
        config["general_settings"] |= general
        gateway.config_file.write_text(yaml.safe_dump(config))
        manage(gateway, "/config/reload", {})
        reply = gateway.chat(headers=forged)
        path = f"/spend/logs?request_id={gateway.record_of(reply)['request_id']}"
        return eventually(lambda: manage(gateway, path), what="its row")[0]["requester_ip_address"]

    assert configured() == "198.51.100.3"
    assert configured(trusted_proxies=[], use_x_forwarded_for=False) == "127.0.0.1", "nobody vouches for the header"
    assert configured(store_client_addresses=False) is None
