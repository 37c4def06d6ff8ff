"""Credentials of stored models, sealed as LiteLLM seals them: NaCl's secret box under SHA-256 of the salt key."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from routewright.errors import InvalidRequest


class Seal:
    """Seals and opens. Without a salt key or a master key there is nothing to seal with."""

    def __init__(self, secret: str | None) -> None:
        self._key = None if secret is None else hashlib.sha256(secret.encode()).digest()

    def close(self, values: dict[str, Any]) -> str:
        """Base64 text for a column. Raises InvalidRequest without a key."""
        if self._key is None:
            raise InvalidRequest(
                "a credential can't be kept without LITELLM_SALT_KEY or a master key to seal it with; "
                "name a variable instead, os.environ/NAME",
                param="litellm_params",
            )
        from nacl.secret import SecretBox  # libsodium is loaded only where something is sealed

        return base64.b64encode(SecretBox(self._key).encrypt(json.dumps(values).encode())).decode("ascii")

    def open(self, sealed: str | None) -> dict[str, Any] | None:
        """What was sealed; None where another key sealed it, or somebody changed it."""
        if sealed is None:
            return {}
        found = self.open_text(sealed)
        if found is None:
            return None
        values: dict[str, Any] = json.loads(found)
        return values

    def open_text(self, sealed: str) -> str | None:
        """A text that LiteLLM or we have sealed; None where it can't be opened."""
        if self._key is None:
            return None
        from nacl.exceptions import CryptoError
        from nacl.secret import SecretBox

        for decode in (base64.b64decode, base64.urlsafe_b64decode):
            try:
                return SecretBox(self._key).decrypt(decode(sealed)).decode()
            except (CryptoError, ValueError, TypeError):
                continue
        return None
