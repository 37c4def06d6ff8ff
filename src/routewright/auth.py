"""From the headers of a request to the caller: which virtual key, and what it may do."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any

from routewright.errors import AuthenticationError, PermissionDenied, UnknownKey
from routewright.grants import with_members
from routewright.settings import KeySettings, Settings
from routewright.stored_keys import StoredKeys
from routewright.types import Access, Caller

ANONYMOUS = Caller(key_hash="", alias=None, is_master=False, models=None)
MAX_KEY_BYTES = 512
MAX_RECENT_KEYS = 10_000
STORED_PREFIX = b"sk-"

# Where a key may stand, first wins: `x-litellm-api-key` is for clients whose Authorization belongs to something else.
KEY_HEADERS = (b"x-litellm-api-key", b"authorization", b"x-api-key", b"api-key", b"ocp-apim-subscription-key")


def hash_of(key: bytes) -> str:
    """SHA-256 in lower-case hex, as LiteLLM keeps its keys."""
    return hashlib.sha256(key).hexdigest()


class KeyNotInMemory(Exception):
    """The key may be a stored one; the store has to be asked."""

    def __init__(self, digest: bytes) -> None:
        super().__init__("a key that is not in memory")
        self.digest = digest


class Keys:
    """The virtual keys of the configuration, the stored ones, and the master key."""

    def __init__(
        self,
        settings: Settings,
        limits_of: Callable[[str, KeySettings], Any],
        is_stored: Callable[[], bool] = lambda: False,
    ) -> None:
        """`is_stored`: may there be keys in the store?"""
        self.stored: StoredKeys | None = None
        """Set where there is a store."""
        self._is_stored = is_stored
        self._limits_of = limits_of
        self._recent: dict[bytes, Caller] = {}
        """Authorization headers that were good lately: they are found by their full text or not at all."""
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """Take the configuration's keys as they are now."""
        callers: dict[bytes, Caller] = {}
        groups = settings.access_groups
        for entry in settings.keys:
            key = entry.key.reveal().encode()
            digest = hash_of(key)
            callers[hashlib.sha256(key).digest()] = Caller(
                key_hash=digest,
                alias=entry.alias,
                is_master=False,
                models=None if entry.models is None else frozenset(with_members(entry.models, groups)),
                dial=entry.dial,
                limits=self._limits_of(digest, entry),
                tags=entry.tags,
                cache_controls=None if entry.cache_controls is None else frozenset(entry.cache_controls),
                guardrails=entry.guardrails,
                stores_prompts=entry.stores_prompts,
            )
        self._callers = callers
        self._recent.clear()
        self._master: bytes | None = None
        if settings.master_key is not None:
            master = settings.master_key.reveal().encode()
            self._master = hashlib.sha256(master).digest()
            self._master_caller = Caller(key_hash=hash_of(master), alias="master", is_master=True, models=None)
        self._headers: tuple[bytes, ...] = KEY_HEADERS
        if settings.key_header_name:
            self._headers = (*KEY_HEADERS, settings.key_header_name.lower().encode("ascii"))
        self.is_open = self._master is None and not self._callers
        """There is no key at all: anybody may call the inference endpoints, nobody the master's."""

    def on_tick(self) -> None:
        """Keys that expire, and a first key in the store, which closes what was open."""
        if self.is_open and self._is_stored():
            self.is_open = False
        if self.stored is not None:
            self.stored.on_tick()

    def forget_recent(self) -> None:
        """What is remembered by its full header may be stale."""
        self._recent.clear()

    def authenticate(self, headers: Mapping[bytes, bytes], access: Access) -> Caller:
        """Raises AuthenticationError without a key we know, PermissionDenied where the endpoint is the master's, and
        KeyNotInMemory where the store has to be asked first."""
        if access == Access.OPEN:
            return ANONYMOUS
        if self.is_open:
            if access == Access.MASTER:
                raise PermissionDenied("this endpoint needs the master key, and none is configured")
            return ANONYMOUS
        stated = headers.get(b"authorization") if b"x-litellm-api-key" not in headers else None
        caller = self._recent.get(stated) if stated is not None else None
        if caller is None:
            caller = self._find(self._token(headers))
            if stated is not None:
                if len(self._recent) >= MAX_RECENT_KEYS:
                    self._recent.clear()
                self._recent[stated] = caller
        if access == Access.MASTER and not caller.is_master:
            raise PermissionDenied("this endpoint needs the master key")
        return caller

    def _find(self, token: bytes) -> Caller:
        digest = hashlib.sha256(token).digest()
        caller = self._callers.get(digest)
        if caller is not None:
            return caller
        if self._master is not None and hmac.compare_digest(digest, self._master):
            return self._master_caller
        # Every stored key begins so; nothing else is worth a question.
        if self.stored is None or not token.startswith(STORED_PREFIX) or not self._is_stored():
            raise UnknownKey("Invalid API key")
        caller = self.stored.find(digest)
        if caller is None:
            raise KeyNotInMemory(digest)
        return caller

    async def of_hash(self, key_hash: str) -> Caller:
        """The caller behind a key that was shown before. Raises AuthenticationError, StorageUnavailable."""
        digest = bytes.fromhex(key_hash)
        if self._master is not None and hmac.compare_digest(digest, self._master):
            return self._master_caller
        caller = self._callers.get(digest)
        while caller is None:
            if self.stored is None:
                raise AuthenticationError("Invalid API key")
            caller = self.stored.find(digest)
            if caller is None and (error := await self.stored.look_up(digest)) is not None:
                raise error
        return caller

    def _token(self, headers: Mapping[bytes, bytes]) -> bytes:
        for name in self._headers:
            value = headers.get(name)
            if value is None:
                continue
            if value[:7].lower() == b"bearer ":
                value = value[7:].strip()
            elif name == b"authorization":
                raise AuthenticationError("Invalid API key: expected Authorization: Bearer, and the key")
            if not value or len(value) > MAX_KEY_BYTES:
                raise UnknownKey("Invalid API key")
            return value
        raise AuthenticationError("No API key given: expected Authorization: Bearer, and the key")
