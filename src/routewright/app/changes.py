"""What is served changes while it serves: the configuration is read again, models come to the store and change."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from routewright.admission.counters import Counters
from routewright.config.overrides import Overrides
from routewright.config.problems import ConfigError
from routewright.config.stored import read_stored
from routewright.errors import Conflict, GatewayError, InvalidRequest, StorageUnavailable
from routewright.grants import Change
from routewright.reloading import ConfigWatch, Difference, difference, in_force
from routewright.settings import DeploymentSettings, Settings
from routewright.storage import Storage

Load = Callable[[Overrides], Settings]
"""The configuration's file, with what was changed while serving laid over it."""
Models = tuple[DeploymentSettings, ...]
log = logging.getLogger("routewright")


class Changes:
    """One worker's view of what the configuration and the store say."""

    def __init__(
        self,
        settings: Settings,
        load: Load | None,
        storage: Storage,
        counters: Counters,
        apply: Callable[[Settings, Models], None],
    ) -> None:
        """`load` reads the configuration again; None where there is no file behind it. `apply` serves by others than
        those here, from its return on, or raises and has changed nothing."""
        self.settings = settings
        """What the configuration says; what is served has the store's models as well."""
        self.stored: Models = ()
        self.knows_models = False
        """The store has said which models it keeps."""
        self.overrides: Overrides = {}
        """Settings that were changed while serving."""
        self._load = load
        self._storage = storage
        self._counters = counters
        self._apply = apply
        self._are_models_stale = self._are_overrides_stale = False
        self._reasons_told: set[str] = set()
        self._watch = ConfigWatch(settings.config_files)
        self._config_loads_seen = counters.config_loads
        self._tasks: set[asyncio.Task[None]] = set()
        storage.on_changed.append(self._models_changed)

    @property
    def served(self) -> Models:
        """Every deployment there is."""
        return (*self.settings.deployments, *self.stored)

    @property
    def stored_ids(self) -> frozenset[str]:
        return frozenset(each.id for each in self.stored)

    def on_tick(self, now: float) -> None:
        if self._counters.config_loads != self._config_loads_seen:
            self._config_loads_seen = self._counters.config_loads
            self.run_soon(self._follow_config())
        elif self._load is not None and self._watch.has_changed(now):
            self.run_soon(self._follow_config())
        if self._are_models_stale and self._storage.is_connected:
            self.run_soon(self._refresh_models())
        if self._are_overrides_stale and self._storage.is_connected:
            self.run_soon(self._refresh_overrides())

    def follow(self) -> None:
        """Read the configuration again, where there is a file."""
        if self._load is not None:
            self.run_soon(self._follow_config())

    async def reload(self) -> Difference:
        """Read the configuration again, here and then in the other workers. Raises InvalidRequest with every fault of
        the file; then nothing has changed."""
        found = await self._load_config()
        self._counters.config_loads += 1
        self._config_loads_seen = self._counters.config_loads
        return found

    async def _load_config(self) -> Difference:
        if self._load is None:
            raise Conflict("this gateway was started without a configuration file")
        try:
            read = await asyncio.to_thread(self._load, self.overrides)
        except (ConfigError, ValueError) as error:
            raise InvalidRequest(str(error)) from error
        before = self.settings
        new = in_force(before, read)
        found = difference(before, read)
        self._apply(new, self.stored)
        self._watch.files = new.config_files
        log.info("the configuration was read again; changed: %s", found)
        for warning in set(new.warnings) - set(before.warnings):
            log.warning(warning)
        return found

    async def _follow_config(self) -> None:
        try:
            await self._load_config()
        except GatewayError as error:
            log.error("the configuration stays as it was: %s", error.message)

    async def _models_changed(self, changes: list[Change]) -> None:
        """A model was added, changed or taken out, or a setting changed."""
        if self._load is not None and any(change.kind in ("config", "all") for change in changes):
            self._are_overrides_stale = True
            await self._refresh_overrides()
        if any(change.kind in ("model", "all") for change in changes):
            self._are_models_stale = True
            await self._refresh_models()

    async def _refresh_overrides(self) -> None:
        """Ask for the settings that were changed; where they can't be had now, the tick tries again."""
        self._are_overrides_stale = False
        try:
            found = msgspec.msgpack.decode(await self._storage.ask("config"), type=dict[str, dict[str, Any]])
        except StorageUnavailable:
            self._are_overrides_stale = True
            return
        except GatewayError as error:  # such as of a store's process of the version before, which ends soon
            log.warning("settings changed while serving are not known: %s", error.message)
            return
        if found != self.overrides:
            self.overrides = found
            await self._follow_config()

    async def _refresh_models(self) -> None:
        """Ask for the stored models; where they can't be had now, the tick tries again."""
        self._are_models_stale = False
        try:
            await self._take_models()
        except StorageUnavailable:
            self._are_models_stale = True

    async def _take_models(self) -> None:
        entries = msgspec.msgpack.decode(await self._storage.ask("models"))
        stored, reasons = read_stored(entries, os.environ, [each.id for each in self.settings.deployments])
        self.knows_models = True
        for reason in reasons:
            if reason not in self._reasons_told:
                self._reasons_told.add(reason)
                log.warning(reason)
        self._apply(self.settings, tuple(stored))

    def run_soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
