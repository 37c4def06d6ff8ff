"""What is put down of an object at a provider: whose it is, where it lies, and how it was seen."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from routewright.errors import UpstreamBadResponse
from routewright.keeping import owner_of
from routewright.types import Call, Caller, Deployment
from routewright.wire.json import encode

FILE_KIND, BATCH_KIND, TUNING_KIND = "file", "batch", "fine_tuning_job"
COPY_KIND = "file_copy"
"""The same file in one more account; a list does not have it."""
PATHS = {FILE_KIND: "/files", COPY_KIND: "/files", BATCH_KIND: "/batches", TUNING_KIND: "/fine_tuning/jobs"}
MAX_BODY_BYTES = 256 * 1024
"""Of an object as it is told; a description of one that is longer is none."""
_ID = re.compile(r"[A-Za-z0-9._\-:]{1,256}")
_OUTPUTS = ("output_file_id", "error_file_id")
_OF_MAKER = ("owner", "deployment_id", "model", "provider", "key_hash", "key_alias", "user_id", "team_id",
             "organization_id", "customer_id", "tags")  # fmt: skip

Row = dict[str, Any]
"""Of `store.schema.owned`."""


def id_in(found: Mapping[str, Any]) -> str:
    """The object's id. Raises UpstreamBadResponse for one that could mean anything else than an id."""
    given = found.get("id")
    if type(given) is not str or _ID.fullmatch(given) is None or given.strip(".") == "":
        raise UpstreamBadResponse("the upstream's answer has no id")
    return given


def row_of(
    kind: str,
    made: Mapping[str, Any],
    seen: bytes,
    caller: Caller,
    deployment: Deployment,
    *,
    call: Call,
    about: Mapping[str, Any] | None = None,
) -> Row:
    """Raises UpstreamBadResponse where the provider's answer is no such object."""
    if len(seen) > MAX_BODY_BYTES:
        raise UpstreamBadResponse("the upstream's description of what it has made is too long")
    return {
        "object_id": id_in(made),
        "kind": kind,
        "owner": owner_of(caller),
        "created_at_ms": int(time.time() * 1000),
        "expires_at_ms": _expiry_ms(made),
        "deployment_id": deployment.id,
        "model": deployment.model_name,
        "provider": deployment.provider,
        "key_hash": caller.key_hash,
        "key_alias": caller.alias,
        "user_id": caller.user_id,
        "team_id": caller.team_id,
        "organization_id": caller.organization_id,
        "customer_id": call.user,
        "tags": list(call.metadata_tags) or None,
        "purpose": str(made.get("purpose"))[:64] if kind == FILE_KIND else None,
        "about": dict(about) if about else None,
        "body": seen.decode("utf-8", "replace"),
        "is_open": False,
        "held_nusd": 0,
        "claimed_until_ms": 0,
    }


def copies_of(row: Row) -> list[Row]:
    """A file as it lies in each account that it was sent to, the first one first."""
    about = row["about"] or {}
    return [row, *[{**row, **copy, "kind": COPY_KIND} for copy in about.get("copies", ())]]


def link(rows: Sequence[Row]) -> None:
    """Let the first file's id stand for all of these, which are the same in other accounts."""
    first, *others = rows
    if not others:
        return
    copies = [{name: row[name] for name in ("object_id", "deployment_id", "model", "provider")} for row in others]
    first["about"] = {**(first["about"] or {}), "copies": copies}
    for row in others:
        row["kind"], row["about"] = COPY_KIND, {"copy_of": first["object_id"]}


def parts_of(row: Row, found: Mapping[str, Any]) -> list[Row]:
    """The files that came of a batch or of fine-tuning: they are its owner's."""
    ids = [found.get(name) for name in _OUTPUTS]
    results = found.get("result_files")
    ids += results[:100] if type(results) is list else []
    purpose = "batch_output" if row["kind"] == BATCH_KIND else "fine-tune-results"
    parts = []
    for object_id in ids:
        if type(object_id) is not str or _ID.fullmatch(object_id) is None:
            continue
        body = {"id": object_id, "object": "file", "bytes": 0, "created_at": int(time.time()), "status": "processed",
                "filename": f"{object_id}.jsonl", "purpose": purpose}  # fmt: skip
        parts.append(
            {name: row[name] for name in _OF_MAKER}
            | {
                "object_id": object_id,
                "kind": FILE_KIND,
                "created_at_ms": int(time.time() * 1000),
                "expires_at_ms": None,
                "purpose": purpose,
                "about": {row["kind"]: row["object_id"]},
                "body": encode(body).decode(),
                "is_open": False,
                "held_nusd": 0,
                "claimed_until_ms": 0,
            }
        )
    return parts


def _expiry_ms(made: Mapping[str, Any]) -> int | None:
    """Files have a time to live at some providers; a batch's `expires_at` is only when it gives up."""
    given = made.get("expires_at")
    return given * 1000 if made.get("object") == "file" and type(given) is int and 0 < given < 2**40 else None
