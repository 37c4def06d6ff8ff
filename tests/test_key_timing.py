"""T1: how long a wrong key takes tells nothing of how much of it is right.

That keys are hashed before anything else is done with them is shown always. ROUTEWRIGHT_LONG=1 measures it as well, at
the socket: 5,000 requests of each kind in turns, whose medians lie within 5 % of one another.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import random
import statistics
import time
from collections.abc import Iterator
from typing import Any

import pytest

from harness.admin import new_key
from harness.gateway import MASTER_KEY, TEAM_KEY, Gateway, base_config, running
from harness.upstream import Upstream
from harness.wire import Wire, assert_error, request_bytes
from routewright import auth
from routewright.auth import Keys
from routewright.errors import UnknownKey
from routewright.settings import Settings
from routewright.types import Access, Secret
from values import key_settings

IS_LONG = os.environ.get("ROUTEWRIGHT_LONG") == "1"
TIMES = 5000 if IS_LONG else 20
MASTER, TEAM = "sk-master-0123456789", "sk-team-0123456789"


class Guess(bytes):
    """What a caller gives as its key; nobody may compare it, or look how it begins, further than `sk-`."""

    def __eq__(self, other: object) -> bool:
        raise AssertionError(f"compared as it is, with {other!r}")

    def __ne__(self, other: object) -> bool:
        raise AssertionError(f"compared as it is, with {other!r}")

    __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __eq__  # type: ignore[assignment]

    def __hash__(self) -> int:
        raise AssertionError("looked up as it is")

    def startswith(self, prefix: Any, *place: Any) -> bool:
        assert prefix == b"sk-", "only what begins every key may be looked for"
        return super().startswith(prefix, *place)

    def strip(self, *of: Any) -> Guess:
        return Guess(super().strip(*of))

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return Guess(found) if isinstance(place, slice) and place.start else found


class Digest(bytes):
    """The master key's hash; compared by nothing but `hmac.compare_digest`."""

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared by ==, which ends at the first byte that differs")

    __hash__ = bytes.__hash__


@pytest.mark.parametrize("header", [b"x-api-key", b"x-litellm-api-key"])
@pytest.mark.parametrize("prefix", [b"", b"Bearer "])
def test_key_is_hashed_before_anything_looks_at_it(
    header: bytes, prefix: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by its SHA-256, which no caller can steer byte by byte; the master's is compared in constant time."""
    known = Keys(
        Settings(keys=(key_settings(TEAM, alias="team"),), master_key=Secret(MASTER)), lambda digest, entry: None
    )
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((bytes(one), bytes(other)))
        return hmac.compare_digest(bytes(one), bytes(other))

    known._master = Digest(known._master or b"")
    monkeypatch.setattr(auth, "hmac", type("hmac", (), {"compare_digest": staticmethod(compare)}))
    for key in (TEAM, MASTER):
        assert known.authenticate({header: Guess(prefix + key.encode())}, Access.KEY).is_master == (key == MASTER)
    for wrong in (wrong_first(MASTER), wrong_last(MASTER), MASTER[:-1], wrong_last(TEAM)):
        compared.clear()
        with pytest.raises(UnknownKey):
            known.authenticate({header: Guess(prefix + wrong.encode())}, Access.KEY)
        assert compared == [(hashlib.sha256(wrong.encode()).digest(), hashlib.sha256(MASTER.encode()).digest())]


def wrong_first(key: str) -> str:
    """All of it is right but the first character that is not the same in all keys."""
    return key[:3] + chr(ord(key[3]) ^ 1) + key[4:]


def wrong_last(key: str) -> str:
    return key[:-1] + chr(ord(key[-1]) ^ 1)


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    with running(base_config(upstream)) as started:
        yield started


def test_wrong_keys_take_equally_long_wherever_they_are_wrong(gateway: Gateway) -> None:
    """R1, T1: the master's, one of the file's, one of the store's. All are refused alike."""
    rng = random.Random(5)
    for whose, key in (("master", MASTER_KEY), ("file", TEAM_KEY), ("store", new_key(gateway))):
        kinds = {"first byte": wrong_first(key), "last byte": wrong_last(key), "another": "sk-" + "z" * (len(key) - 3)}
        requests = {kind: request_bytes("GET", "/v1/models", key=wrong) for kind, wrong in kinds.items()}
        took_us: dict[str, list[float]] = {kind: [] for kind in kinds}
        with gateway.connect() as client:
            for _ in range(TIMES):
                for kind in rng.sample(list(kinds), len(kinds)):
                    took_us[kind].append(_asked(client, requests[kind]))
        medians = {kind: statistics.median(each) for kind, each in took_us.items()}
        print(f"\n{whose}: medians of {TIMES}, us: { {kind: round(each, 1) for kind, each in medians.items()} }")
        if IS_LONG:
            assert max(medians.values()) < 1.05 * min(medians.values())


def _asked(client: Wire, request: bytes) -> float:
    began_s = time.perf_counter()
    client.send(request)
    reply = client.reply()
    took_us = (time.perf_counter() - began_s) * 1e6
    assert_error(reply, 401, "invalid_api_key")
    assert reply.error["message"] == "Invalid API key"
    return took_us
