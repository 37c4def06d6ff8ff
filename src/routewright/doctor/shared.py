"""The Valkey or Redis that limits are shared over: reached, quick enough, and will it keep what it is told?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from routewright.doctor.findings import Finding, good, problem, warning
from routewright.settings import ValkeySettings

PINGS = 20
SCANNED, AT_ONCE = 20_000, 1000
"""So many keys are looked through for ours, and no more: others may have millions there."""
NEARLY_FULL = 0.9
MIB = 1 << 20


@dataclass(slots=True)
class State:
    """What a server said of itself."""

    name: str = "a server that does not say what it is"
    is_master: bool = True
    policy: str = ""
    used_bytes: int = 0
    most_bytes: int = 0
    """0: as much as there is."""
    round_trip_s: float = 0.0
    """The median of several."""
    machines: int = 0
    leases: int = 0
    is_counted: bool = True
    """False: there were more keys than were looked through."""


def of_valkey(settings: ValkeySettings) -> Iterator[Finding]:
    # Imported where there is a Valkey: its client's reader is an extra.
    from routewright.valkey.connection import ValkeyLost

    try:
        state = asyncio.run(_ask(settings))
    except (ValkeyLost, TimeoutError) as error:
        yield problem("valkey", f"not reached: {error or 'too slow'}",
                      "until it is, each replica keeps to its own share of every limit")  # fmt: skip
        return
    yield from findings(state, settings.timeout_s)


async def _ask(settings: ValkeySettings) -> State:
    """Raises ValkeyLost."""
    from routewright.valkey.connection import ValkeyLost
    from routewright.valkey.whereabouts import connect

    connection = await connect(settings)
    try:
        async with asyncio.timeout(10):
            took_s = []
            for _ in range(PINGS):
                began_s = time.perf_counter()
                await connection.ask(("PING",))
                took_s.append(time.perf_counter() - began_s)
            state = State(round_trip_s=sorted(took_s)[PINGS // 2])
            await connection.ask(("EVAL", "return 1", 0))
            try:
                (text,) = await connection.ask(("INFO",))
            except ValkeyLost:
                pass  # some who rent servers out don't let one ask
            else:
                _read(text.decode("utf-8", "replace"), state)
            (state.machines,) = await connection.ask(("ZCARD", f"{settings.namespace}:replicas"))
            cursor, seen = b"0", 0
            while True:
                ours = f"{_escaped(settings.namespace)}:[lb]*"
                ((cursor, keys),) = await connection.ask(("SCAN", cursor, "MATCH", ours, "COUNT", AT_ONCE))
                state.leases += len({key.rsplit(b":", 1)[0] for key in keys})
                seen += AT_ONCE
                if cursor == b"0":
                    return state
                if seen >= SCANNED:
                    state.is_counted = False
                    return state
    finally:
        connection.close()


def _escaped(text: str) -> str:
    """For a pattern that matches just this."""
    return "".join(f"\\{each}" if each in "*?[]^\\" else each for each in text)


def _read(text: str, state: State) -> None:
    told = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    if "valkey_version" in told:
        state.name = f"Valkey {told['valkey_version']}"
    elif "redis_version" in told:
        state.name = f"Redis {told['redis_version']}"
    state.is_master = told.get("role", "master") == "master"
    state.policy = told.get("maxmemory_policy", "")
    state.used_bytes, state.most_bytes = (
        int(told[name]) if told.get(name, "").isdigit() else 0 for name in ("used_memory", "maxmemory")
    )


def findings(state: State, timeout_s: float) -> Iterator[Finding]:
    """`timeout_s`: what a request waits for the server at most."""
    more = "" if state.is_counted else "at least "
    shared = f"{more}{state.leases} limits and budgets leased, {state.machines} machines heard of"
    yield good("valkey", f"{state.name}, {state.round_trip_s * 1e3:.2f} ms away, {shared}")
    if not state.is_master:
        yield problem("valkey", "it is a replica, which takes no leases", "give the address of its primary")
    if state.round_trip_s > timeout_s:
        yield problem("valkey", f"an answer takes {state.round_trip_s * 1e3:.0f} ms, a request waits for "
                      f"{timeout_s * 1e3:.0f}: it counts as away",
                      "put it nearer, or set ROUTEWRIGHT_VALKEY_TIMEOUT_S")  # fmt: skip
    elif state.round_trip_s > timeout_s / 4:
        yield warning("valkey", f"an answer takes {state.round_trip_s * 1e3:.0f} ms",
                      "keys with small limits wait for one with every call: put it nearer")  # fmt: skip
    if state.most_bytes and state.policy not in ("", "noeviction"):
        yield warning("valkey", f"with {state.most_bytes // MIB} MiB full it throws keys away ({state.policy})",
                      "then every machine tells its leases anew and keeps to its share meanwhile: maxmemory-policy "
                      "noeviction, and a server of its own for a response cache")  # fmt: skip
    elif state.most_bytes and state.used_bytes > NEARLY_FULL * state.most_bytes:
        share = state.used_bytes / state.most_bytes
        yield warning("valkey", f"{share:.0%} of its {state.most_bytes // MIB} MiB are used",
                      "a full one refuses leases, and each replica keeps to its share: raise maxmemory")  # fmt: skip
