"""One kept answer."""

from __future__ import annotations

import msgspec

from routewright.types import Usage

OVERHEAD_BYTES = 600
"""What an entry costs in memory beside its bytes, roughly."""


class Entry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The bytes as their client got them, in its dialect, before any guardrail looked at them."""

    body: bytes
    is_stream: bool
    has_usage: bool
    """A stream that tells its usage, as `stream_options.include_usage` asks."""
    made_at_s: float
    """Wall clock, seconds since 1970."""
    expires_at_s: float
    deployment: str
    """Id of the one that answered."""
    fields: bytes
    """Header lines that name it."""
    usage: Usage
    cost_nusd: int

    @property
    def size(self) -> int:
        """Bytes of memory, roughly."""
        return len(self.body) + len(self.fields) + OVERHEAD_BYTES
