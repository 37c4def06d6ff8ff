"""AWS Signature Version 4, as far as one request with a body needs it.

Source: AWS General Reference, "Create a signed AWS API request".
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from urllib.parse import quote

from routewright.credentials import AwsCredentials


def signed_headers(
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    credentials: AwsCredentials,
    service: str,
    now_s: float,
) -> dict[str, str]:
    """`headers` (lower-case names, `host` among them) with date, token and signature added. `path` as it is sent."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
    signed = {**headers, "x-amz-date": stamp}
    if credentials.session_token is not None:
        signed["x-amz-security-token"] = credentials.session_token.reveal()
    names = sorted(signed)
    # What is sent is encoded already; the canonical form encodes it once more, for every service but S3.
    lines = [method, quote(path, safe="/-_.~"), "", *(f"{name}:{signed[name].strip()}" for name in names), ""]
    lines += [";".join(names), hashlib.sha256(body).hexdigest()]
    scope = f"{stamp[:8]}/{credentials.region}/{service}/aws4_request"
    request_digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{request_digest}"
    key = f"AWS4{credentials.secret_key.reveal()}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signed["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.key_id}/{scope}, SignedHeaders={';'.join(names)}, "
        f"Signature={key.hex()}"
    )
    return signed
