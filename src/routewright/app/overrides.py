"""Settings changed while serving, as one worker sees them: looked at, tried beside the file, and written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from routewright.config.overrides import CHANGEABLE, MAX_BYTES, Overrides, refusal, values_in
from routewright.config.problems import ConfigError
from routewright.errors import Conflict, InvalidRequest
from routewright.settings import Settings
from routewright.storage import ConfigWrite, Storage
from routewright.types import Caller

Values = dict[str, dict[str, Any]]
_decode = msgspec.msgpack.Decoder(Values).decode


class ConfigDesk:
    """What `/config/*` and `/fallback` may see and do."""

    def __init__(
        self, storage: Storage, load: Callable[[Overrides], Settings] | None, settings: Callable[[], Settings]
    ) -> None:
        """`load` reads the file with values laid over it; None where there is no file."""
        self.changeable: Mapping[str, Mapping[str, str]] = CHANGEABLE
        self._storage = storage
        self._load = load
        self._settings = settings

    async def look(self, caller: Caller) -> tuple[Values, Values]:
        """(what the file says, what was changed) of all that may be changed. Raises PermissionDenied for who is no
        administrator."""
        changed = await self._ask(caller, None, {}, ())
        path = self._settings().config_path
        of_file: Values = {}
        if path is not None:
            try:
                of_file = await asyncio.to_thread(values_in, path)
            except ConfigError as error:
                raise InvalidRequest(str(error)) from error
        return of_file, changed

    async def write(
        self, caller: Caller, request_id: str, seen: Values, writes: Sequence[tuple[str, str, Any]]
    ) -> Settings:
        """Change settings, None: back to what the file says; `seen` is what `look` gave as changed. The configuration
        as it is then. Raises InvalidRequest with every fault; then nothing has changed."""
        if self._load is None:
            raise Conflict("this gateway was started without a configuration file")
        reasons = [why for section, name, value in writes if (why := refusal(section, name, value))]
        if reasons:
            raise InvalidRequest("; ".join(reasons), param=writes[0][1])
        wanted = {section: dict(values) for section, values in seen.items()}
        for section, name, value in writes:
            if value is None:
                wanted.get(section, {}).pop(name, None)
            else:
                wanted.setdefault(section, {})[name] = value
        if len(msgspec.msgpack.encode(wanted)) > MAX_BYTES:
            raise InvalidRequest(f"all that is changed may have {MAX_BYTES} bytes at most")
        try:
            settings = await asyncio.to_thread(self._load, wanted)
        except (ConfigError, ValueError) as error:
            raise InvalidRequest(str(error)) from error
        await self._ask(caller, request_id, seen, writes)
        return settings

    async def _ask(
        self, caller: Caller, request_id: str | None, seen: Values, writes: Sequence[tuple[str, str, Any]]
    ) -> Values:
        asked = ConfigWrite(
            key_hash=caller.key_hash, is_master=caller.is_master, request_id=request_id, seen=seen, writes=list(writes)
        )
        return _decode(await self._storage.ask("config_write", asked, is_repeatable=not writes))
