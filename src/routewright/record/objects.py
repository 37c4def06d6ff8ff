"""Records as compressed files of JSON lines in an object store or a folder, by fsspec (extra `objects`).

One object a batch, `2026/11/24/09-15-02-<batch>.jsonl.gz` under the configured address: nothing is ever written twice
or appended to, so any store will do, and a reader sees whole objects only.
"""

from __future__ import annotations

import gzip
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any


class Objects:
    """Writes batches of records."""

    def __init__(self, url: str, options: Mapping[str, str]) -> None:
        # Imported when wanted: fsspec and a store's own library are an extra.
        import fsspec

        client = {name: value for name, value in options.items() if name == "endpoint_url"}
        rest: dict[str, Any] = {name: value for name, value in options.items() if name != "endpoint_url"}
        if client:
            rest["client_kwargs"] = client
        self._files, self._root = fsspec.core.url_to_fs(url, **rest)
        self._run = secrets.token_hex(4)
        self._number = 0

    def send(self, records: Sequence[bytes]) -> None:
        now = time.gmtime()
        folder = f"{self._root}/{time.strftime('%Y/%m/%d', now)}"
        self._number += 1
        name = f"{folder}/{time.strftime('%H-%M-%S', now)}-{self._run}-{self._number:06d}.jsonl.gz"
        data = gzip.compress(b"\n".join(records) + b"\n", compresslevel=6)
        self._files.makedirs(folder, exist_ok=True)
        self._files.pipe_file(name, data)
