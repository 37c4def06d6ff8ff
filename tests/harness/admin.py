"""What an administrator asks of a gateway."""

from __future__ import annotations

from typing import Any

from harness.gateway import MASTER_KEY, Gateway, eventually
from harness.wire import Reply


def manage(gateway: Gateway, path: str, body: Any = None, *, key: str = MASTER_KEY, status: int = 200) -> Any:
    """One call of the management API: POST with a body, GET without. Its answer, which has to have `status`."""
    reply = gateway.request("GET" if body is None else "POST", path, body, key=key)
    assert reply.status == status, (path, reply.status, reply.body)
    return reply.json


def new_key(gateway: Gateway, **fields: Any) -> str:
    """A fresh virtual key."""
    made: str = manage(gateway, "/key/generate", fields)["key"]
    return made


def tried_everywhere(gateway: Gateway, key: str, times: int = 16, **fields: Any) -> list[Reply]:
    """As many calls over connections of their own, so that each worker has some."""
    return [gateway.chat(key=key, **fields) for _ in range(times)]


def obeyed_everywhere(gateway: Gateway, key: str, status: int, **fields: Any) -> None:
    """F16, R26: within a second every worker answers `status`, and from then on no other."""
    eventually(
        lambda: {reply.status for reply in tried_everywhere(gateway, key, **fields)} == {status},
        what=f"{status} from every worker",
    )
    assert {reply.status for reply in tried_everywhere(gateway, key, 8, **fields)} == {status}
