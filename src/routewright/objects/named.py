"""Files that a request to a model names: whether they are the asker's, and which deployments can reach them.

Where a file is somebody else's the answer is the one for a file that does not exist. A file lies in one account, so
what names one goes to a deployment with that account's address and credential.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from routewright.account_names import MAX_FILES, rename_files
from routewright.admission.needs import groups_of
from routewright.carriage.targets import credential_lines
from routewright.errors import GatewayError, InvalidRequest, NotFound, clean_text
from routewright.keeping import owner_of
from routewright.objects.places import Places
from routewright.objects.rows import COPY_KIND, FILE_KIND, Row, copies_of
from routewright.storage import Storage
from routewright.types import Call, Caller, Candidates, Deployment, Group

KINDS = (FILE_KIND, COPY_KIND)
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
        rows = [row for row in msgspec.msgpack.decode(answer, type=list[Row]) if row["kind"] in KINDS]
        missing = set(wanted).difference([row["object_id"] for row in rows])
        if missing and not caller.is_master:
            raise not_found(min(missing))
        return rows

    async def narrow(self, call: Call, candidates: Candidates, caller: Caller) -> None:
        """Leave those deployments that can reach what the call names. Raises NotFound, InvalidRequest."""
        rows = await self.owned(call.files, caller)
        if not rows:
            return
        account, ids = self._account(rows, candidates)
        names = {row["object_id"]: ids[at] for at, row in enumerate(rows) if ids[at] != row["object_id"]}
        if names:
            rename_files(call.body, names)
            call.files = tuple([names.get(each, each) for each in call.files])

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

    def _account(self, rows: Sequence[Row], candidates: Candidates) -> tuple[tuple[Any, ...], list[str]]:
        """(an account in which all of the files lie, their ids there): one that a candidate reaches, where there is
        one. Raises InvalidRequest where they lie in several."""
        places = self._places()
        found: list[dict[tuple[Any, ...], str]] = []
        for row in rows:
            found.append({account_of(places.of(copy)): copy["object_id"] for copy in reversed(copies_of(row))})
        shared = [account for account in reversed(found[0]) if all(account in each for each in found)]
        if not shared:
            raise InvalidRequest("the files of this request lie in several accounts; no model can read them all")
        reached = [account_of(each) for group in groups_of(candidates) for each in group.deployments]
        account = next((each for each in reached if each in shared), shared[0])
        return account, [each[account] for each in found]


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
