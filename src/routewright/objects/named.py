"""Files that a request to a model names: whether they are the asker's, and which deployments can reach them.

Where a file is somebody else's the answer is the one for a file that does not exist. A file lies in one account, so
what names one goes to a deployment with that account's address and credential.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from routewright.account_names import MAX_FILES
from routewright.carriage.targets import credential_lines
from routewright.errors import GatewayError, InvalidRequest, NotFound, clean_text
from routewright.keeping import owner_of
from routewright.objects.places import Places
from routewright.objects.rows import FILE_KIND, Row
from routewright.storage import Storage
from routewright.types import Call, Caller, Candidates, Deployment, Group

ASK_S = 20.0
"""The store's process may have to start first."""


def asker(caller: Caller) -> tuple[str | None, str]:
    """(whose objects a caller may see, None for all; by which key)."""
    return (None if caller.is_master else owner_of(caller)), caller.key_hash


class NamedFiles:
    """Asked where a request names files; most name none."""

    def __init__(self, storage: Storage, places: Callable[[], Places]) -> None:
        self._storage = storage
        self._places = places

    async def owned(self, ids: Sequence[str], caller: Caller) -> list[Row]:
        """The files, all of which are the caller's. Raises NotFound for one that is not; to the master, who may use
        whatever lies in an account, one that was not uploaded here is nobody's."""
        wanted = list(dict.fromkeys(ids))
        if len(wanted) > MAX_FILES:
            raise InvalidRequest(f"a request may name {MAX_FILES} files at most")
        # In a task of its own: what waits for the store asks for the current task.
        asking = self._storage.ask("owned_find", (asker(caller), wanted), timeout_s=ASK_S)
        answer = await asyncio.get_running_loop().create_task(asking)
        rows = [row for row in msgspec.msgpack.decode(answer, type=list[Row]) if row["kind"] == FILE_KIND]
        missing = set(wanted).difference([row["object_id"] for row in rows])
        if missing and not caller.is_master:
            raise not_found(min(missing))
        return rows

    async def narrow(self, call: Call, candidates: Candidates, caller: Caller) -> None:
        """Leave those deployments that can reach what the call names. Raises NotFound, InvalidRequest."""
        rows = await self.owned(call.files, caller)
        if not rows:
            return
        places = [self._places().of(row) for row in rows]
        accounts = {account_of(place) for place in places}
        if len(accounts) > 1:
            raise InvalidRequest("the files of this request lie in several accounts; no model can read them all")
        (account,) = accounts

        def part(group: Group) -> Group:
            those = [each for each in group.deployments if account_of(each) == account]
            if len(those) == len(group.deployments):
                return group
            made = Group(group.name, group.mode, those or group.deployments)
            if not those:
                made.close(lambda: _elsewhere(rows[0], group.name))
            return made

        candidates.groups = [part(group) for group in candidates.groups]
        allowed = range(len(candidates.groups)) if candidates.allowed is None else candidates.allowed
        left = [index for index in allowed if candidates.groups[index].refusal is None]
        if not left:
            raise _elsewhere(rows[0], call.model)
        if len(left) != len(candidates.groups):
            candidates.allowed = left
        for name in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
            parts = [part(group) for group in getattr(candidates, name)]
            setattr(candidates, name, [each for each in parts if each.refusal is None])


def not_found(file_id: str) -> NotFound:
    """As of a file that is somebody else's, so of one that is nobody's."""
    return NotFound(f'no file "{clean_text(file_id)}" is here')


def account_of(deployment: Deployment) -> tuple[Any, ...]:
    """What tells two deployments apart where files lie: the address, and whose credential goes there."""
    lines = credential_lines(deployment.request_heads)
    return deployment.provider, deployment.origin, lines, tuple(deployment.secrets)


def _elsewhere(row: Row, model: str) -> GatewayError:
    return InvalidRequest(
        f'file "{row["object_id"]}" lies in the account of "{row["model"]}", where "{clean_text(model)}" is not served'
    )
