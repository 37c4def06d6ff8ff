"""From the headers of a request to the caller."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routewright.auth import ANONYMOUS, Keys
from routewright.errors import AuthenticationError, GatewayError, PermissionDenied
from routewright.settings import KeySettings, Settings
from routewright.types import Access, Secret
from values import key_settings

MASTER = "sk-master"
TEAM = "sk-team-a"


def keys(*entries: KeySettings, master: str | None = MASTER, **settings: Any) -> Keys:
    secret = None if master is None else Secret(master)
    made = Settings(keys=entries or (key_settings(TEAM, alias="team-a"),), master_key=secret, **settings)
    return Keys(made, lambda digest, entry: (digest, entry.rpm_limit))


def bearer(key: str | bytes) -> dict[bytes, bytes]:
    return {b"authorization": b"Bearer " + (key if isinstance(key, bytes) else key.encode())}


def refusal(known: Keys, headers: dict[bytes, bytes], access: Access = Access.KEY) -> GatewayError:
    with pytest.raises((AuthenticationError, PermissionDenied)) as caught:
        known.authenticate(headers, access)
    return caught.value


def test_virtual_key_is_known_by_its_hash() -> None:
    known = keys(key_settings(TEAM, alias="team-a", models=("gpt-4o",), rpm_limit=7))
    caller = known.authenticate(bearer(TEAM), Access.KEY)
    digest = hashlib.sha256(TEAM.encode()).hexdigest()
    assert (caller.key_hash, caller.alias, caller.is_master) == (digest, "team-a", False)
    assert caller.models == frozenset({"gpt-4o"})
    assert caller.limits == (digest, 7)


def test_key_without_models_may_use_all() -> None:
    assert keys().authenticate(bearer(TEAM), Access.KEY).models is None


def test_master_key_has_every_right_and_no_limits() -> None:
    for access in (Access.KEY, Access.MASTER):
        caller = keys().authenticate(bearer(MASTER), access)
        assert (caller.is_master, caller.models, caller.limits) == (True, None, None)


def test_master_s_endpoints_are_not_for_virtual_keys() -> None:
    assert refusal(keys(), bearer(TEAM), Access.MASTER).status == 403
    assert refusal(keys(), {}, Access.MASTER).status == 401


def test_open_endpoints_ask_for_nothing() -> None:
    for headers in ({}, bearer("nonsense"), {b"authorization": b"Basic x"}):
        assert keys().authenticate(headers, Access.OPEN) is ANONYMOUS


HEADERS = [b"x-litellm-api-key", b"authorization", b"x-api-key", b"api-key", b"ocp-apim-subscription-key", b"x-own"]


@pytest.mark.parametrize("place", range(len(HEADERS)))
def test_first_header_in_order_counts(place: int) -> None:
    """COMPAT, section 2: a key that stands further down is not looked at."""
    known = keys(key_header_name="X-Own")
    headers = dict.fromkeys(HEADERS[place:], b"Bearer wrong")
    headers[HEADERS[place]] = b"Bearer " + TEAM.encode()
    assert known.authenticate(headers, Access.KEY).alias == "team-a"
    if place:
        headers[HEADERS[place - 1]] = b"Bearer wrong"
        assert refusal(known, headers).status == 401


@pytest.mark.parametrize("name", [name for name in HEADERS if name != b"authorization"])
def test_other_headers_hold_the_key_with_or_without_bearer(name: bytes) -> None:
    known = keys(key_header_name="X-Own")
    for value in (TEAM.encode(), b"Bearer " + TEAM.encode(), b"bearer " + TEAM.encode()):
        assert known.authenticate({name: value}, Access.KEY).alias == "team-a"


@pytest.mark.parametrize("scheme", [b"Bearer ", b"bearer ", b"BEARER ", b"Bearer   "])
def test_bearer_is_read_in_any_case(scheme: bytes) -> None:
    assert keys().authenticate({b"authorization": scheme + TEAM.encode()}, Access.KEY).alias == "team-a"


@pytest.mark.parametrize("value", [TEAM.encode(), b"Basic c2s6", b"Bearer", b"Bearer ", b"Token " + TEAM.encode(), b""])
def test_authorization_is_bearer_and_the_key(value: bytes) -> None:
    assert refusal(keys(), {b"authorization": value}).status == 401


WRONG = {
    "SQL": b"' OR '1'='1",
    "SQL behind a key": TEAM.encode() + b"'; DROP TABLE keys; --",
    "union": b'sk-x\' UNION SELECT token FROM "LiteLLM_VerificationToken" --',
    "wildcards": b"sk-%",
    "underscores": b"sk-team_a",
    "star": b"*",
    "NUL": TEAM.encode() + b"\x00",
    "NUL in front": b"\x00" + TEAM.encode(),
    "1 MB": b"s" * 1_000_000,
    "1 MB behind a key": TEAM.encode() + b"k" * 1_000_000,
    "the hash": hashlib.sha256(TEAM.encode()).hexdigest().encode(),
    "other case": TEAM.upper().encode(),
    "bytes above 127": b"sk-\xff\xfe",
    "two keys": TEAM.encode() + b", " + TEAM.encode(),
    "prefix": TEAM[:-1].encode(),
    "with a tail": TEAM.encode() + b"0",
    "master's prefix": MASTER[:-1].encode(),
}


@pytest.mark.parametrize("key", WRONG.values(), ids=WRONG.keys())
def test_any_other_key_is_a_401_that_repeats_nothing(key: bytes) -> None:
    """R1, R27, T1: SQL, wildcards, NUL, 1 MB."""
    error = refusal(keys(), bearer(key))
    assert (error.status, error.code, error.message) == (401, "invalid_api_key", "Invalid API key")


KEY = st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=20, max_size=60)


@settings(deadline=None)
@given(KEY, KEY, KEY, st.sampled_from(["prefix", "suffix", "both"]))
def test_keys_with_an_equal_prefix_or_suffix_never_share_an_identity(
    shared: str, one: str, two: str, where: str
) -> None:
    """R5: an identity belongs to the whole key."""
    if one == two:
        return
    before = shared if where in ("prefix", "both") else ""
    after = shared if where in ("suffix", "both") else ""
    first, second = before + one + after, before + two + after
    known = keys(key_settings(first, alias="first"), key_settings(second, alias="second"))

    assert known.authenticate(bearer(first), Access.KEY).alias == "first"
    assert known.authenticate(bearer(second), Access.KEY).alias == "second"
    only_first = keys(key_settings(first, alias="first"))
    assert refusal(only_first, bearer(second)).status == 401
    for cut in (first[:-1], first[1:], first[:20], first + "x"):
        assert refusal(only_first, bearer(cut)).status == 401


def test_without_any_key_inference_is_open_and_the_master_s_endpoints_are_not() -> None:
    known = Keys(Settings(), lambda digest, entry: None)
    assert known.is_open
    assert known.authenticate({}, Access.KEY) is ANONYMOUS
    assert known.authenticate(bearer("anything"), Access.KEY) is ANONYMOUS
    assert refusal(known, bearer(""), Access.MASTER).status == 403


def test_without_a_master_key_nobody_is_the_master() -> None:
    known = keys(master=None)
    assert not known.is_open
    for key in (TEAM, "", "None", "master"):
        assert refusal(known, bearer(key), Access.MASTER).status in (401, 403)
