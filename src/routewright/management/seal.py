"""Credentials of stored models, sealed as LiteLLM seals them: NaCl's secret box under SHA-256 of the salt key.

Its newer versions seal by AES-256-GCM and say so: `v2:gcm:` under the same key, `v3:gcm:` under one derived by HKDF
(RFC 5869); behind it, in base64, nonce, ciphertext and tag. These are opened here, never made.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

from routewright.errors import InvalidRequest

_V2, _V3 = "v2:gcm:", "v3:gcm:"
_V3_INFO = b"litellm-at-rest-v3"
_NONCE_BYTES = 12


def _v3_key(secret: bytes) -> bytes:
    """HKDF-SHA256 without a salt; one block of it is the whole key."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(extracted, _V3_INFO + b"\x01", "sha256")


class Seal:
    """Seals and opens. Without a salt key or a master key there is nothing to seal with."""

    def __init__(self, secret: str | None) -> None:
        self._secret = None if secret is None else secret.encode()
        self._key = None if self._secret is None else hashlib.sha256(self._secret).digest()

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
        if sealed.startswith((_V2, _V3)):
            return self._open_gcm(sealed)
        from nacl.exceptions import CryptoError
        from nacl.secret import SecretBox

        for decode in (base64.b64decode, base64.urlsafe_b64decode):
            try:
                return SecretBox(self._key).decrypt(decode(sealed)).decode()
            except (CryptoError, ValueError, TypeError):
                continue
        return None

    def _open_gcm(self, sealed: str) -> str | None:
        from nacl.bindings import crypto_aead_aes256gcm_decrypt
        from nacl.exceptions import CryptoError

        assert self._secret is not None
        assert self._key is not None
        key = _v3_key(self._secret) if sealed.startswith(_V3) else self._key
        try:
            data = base64.urlsafe_b64decode(sealed[len(_V2) :])
            return crypto_aead_aes256gcm_decrypt(data[_NONCE_BYTES:], None, data[:_NONCE_BYTES], key).decode()
        except (CryptoError, ValueError, TypeError):
            return None
