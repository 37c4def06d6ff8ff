"""Models of a LiteLLM database: opened with the key that LiteLLM sealed them with, and sealed anew by the same."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from routewright.management.models import split
from routewright.management.seal import Seal
from routewright.store.rows import Row

TABLE = "LiteLLM_ProxyModelTable"


class Skip(Exception):
    """Why a row of the source is left out."""


class Models:
    """Reads rows of `LiteLLM_ProxyModelTable`."""

    def __init__(self, secret: str | None) -> None:
        """`secret`: LITELLM_SALT_KEY, or the master key where there is none; None: neither is known."""
        self._secret = secret
        self._seal = Seal(secret)

    def check(self, sources: Iterable[Mapping[str, Any]]) -> None:
        """Raises ValueError where the secret opens none of what is sealed there: it is another one's."""
        if self._secret is None:
            return
        sealed = [
            value
            for source in sources
            for value in _mapping(source.get("litellm_params")).values()
            if isinstance(value, str)
        ]
        if sealed and all(self._seal.open_text(value) is None for value in sealed):
            raise ValueError(
                "LITELLM_SALT_KEY, or the master key where it is not set, opens none of the stored models: they were "
                "sealed with another one. Set the LITELLM_SALT_KEY that LiteLLM ran with; nothing was taken over"
            )

    def row(self, source: Mapping[str, Any]) -> Row:
        """A row of `models`. Raises Skip."""
        model_id, name = source.get("model_id"), source.get("model_name")
        if not isinstance(model_id, str) or not model_id or not isinstance(name, str) or not name:
            raise Skip("left out: no id or no name")
        if source.get("blocked"):
            raise Skip("left out: blocked")
        info = _mapping(source.get("model_info"))
        if info.get("team_id"):
            raise Skip("left out: a team's own model, which would be served to everybody here")
        params = self._opened(_mapping(source.get("litellm_params")))
        if not params.get("model"):
            raise Skip("left out: no litellm_params.model")
        info = {key: value for key, value in info.items() if key not in ("id", "db_model") and value is not None}
        entry = {"model_name": name, "litellm_params": params, "model_info": {**info, "id": model_id}}
        # All that reads a configuration: 4 MB that the store's process pays with the first model.
        from routewright.config.stored import read_stored

        usable, reasons = read_stored([entry], os.environ)
        if not usable:
            raise Skip(f"left out: {'; '.join(reasons) or 'no deployment can be made of it'}")
        plain, sealed = split(self._seal, params)
        return {"model_id": model_id, "model_name": name, "params": plain, "sealed": sealed, "info": info}

    def _opened(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """LiteLLM seals every text by itself, and leaves numbers, lists and mappings as they are."""
        found: dict[str, Any] = {}
        for name, value in params.items():
            if isinstance(value, str):
                if self._secret is None:
                    raise Skip("left out: sealed; LITELLM_SALT_KEY or the master key opens it, and neither is known")
                opened = self._seal.open_text(value)
                if opened is None:
                    raise Skip("left out: sealed with another key than LITELLM_SALT_KEY or the master key here")
                found[name] = opened
            elif value is not None:
                found[name] = value
        return found


def _mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        value = json.loads(value)
    return value if isinstance(value, dict) else {}
