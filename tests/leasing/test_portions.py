"""Whole calls fit where whole calls fit: no rest of a portion that is of no use here is missing on another machine."""

from __future__ import annotations

import asyncio

from harness.valkey import ValkeyServer
from leasing.doors import machines, nobody_waits


def test_what_is_too_little_for_a_call_is_left_to_who_lacks_as_little(valkey_server: ValkeyServer) -> None:
    """R23. The call that ran while the question was asked used more than it reserved, so the last of the four lacks
    that; the other machine, which asked for more than there is, must not have been given it for nothing."""

    async def run() -> int:
        async with machines(valkey_server, "lacks-little") as (one, other):
            one.calls(1)
            await nobody_waits(one)
            valkey_server.pause()
            try:
                one.calls(4)
                await asyncio.sleep(0.05)  # its question lies at the server, before the other's
                other.calls(5)
                await asyncio.sleep(0.05)
                one.answer()
            finally:
                valkey_server.resume()
            await nobody_waits(one, other)
            return one.passed + other.passed

    assert asyncio.run(run()) == 6


def test_machine_that_was_given_less_than_it_wanted_asks_for_what_is_left(valkey_server: ValkeyServer) -> None:
    """R23. It knows how much is left, so it need not take a short answer for the end of the limit."""

    async def run() -> int:
        async with machines(valkey_server, "asks-again") as (one, _):
            one.calls(1)
            await nobody_waits(one)
            valkey_server.pause()
            try:
                one.calls(8)
                await asyncio.sleep(0.05)
                one.answer()
            finally:
                valkey_server.resume()
            await nobody_waits(one)
            return one.passed

    assert asyncio.run(run()) == 6


def test_worker_that_ends_leaves_no_question_in_the_rows_that_others_use(valkey_server: ValkeyServer) -> None:
    """R23. Its last words are questions too: their answers end them, or the end itself does."""

    async def run() -> int:
        async with machines(valkey_server, "ends", share_rows=True) as (one, other):
            one.calls(3)
            await nobody_waits(one)
            one.answer()
            await one.leasing.close()
            other.calls(5)
            await nobody_waits(other)
            return one.passed + other.passed

    assert asyncio.run(run()) == 6


def test_worker_that_ends_while_the_valkey_is_silent_leaves_none_either(valkey_server: ValkeyServer) -> None:
    async def run() -> int:
        async with machines(valkey_server, "ends-in-silence", share_rows=True) as (one, other):
            valkey_server.pause()
            try:
                one.calls(3)
                await asyncio.sleep(0.01)  # its question is under way
                await one.leasing.close()
            finally:
                valkey_server.resume()
            other.calls(8)
            await nobody_waits(other)
            return other.passed

    assert asyncio.run(run()) == 6
