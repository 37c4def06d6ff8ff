"""`aws_*` of a deployment: where Amazon Bedrock is, and what requests are signed with."""

from __future__ import annotations

import re
from dataclasses import dataclass

from routewright.config.extras import has_extra, wanted
from routewright.config.oidc_tokens import read_proof
from routewright.config.section import Section, url_fault
from routewright.credentials import AwsCredentials, AwsSource
from routewright.providers.names import AWS_REGION, bedrock_region
from routewright.types import Secret

_REGION_VARIABLES = ("AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}\Z")
_SESSION = re.compile(r"[\w+=,.@-]{2,64}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Aws:
    """What the configuration says of AWS: keys, or where they are fetched; neither with a bearer token."""

    endpoint: str | None = None
    keys: AwsCredentials | None = None
    source: AwsSource | None = None
    why_not: str | None = None
    """Why the deployment can't be used; None with no endpoint: the fault is noted."""


def read_aws(params: Section, model: str) -> Aws:
    """Keys come from the deployment, else from the process's variables, never half from each."""
    environ = params.notes.environ
    unset: list[str] = []
    given = {
        name: params.token(f"aws_{name}", on_unset=unset.append)
        for name in ("access_key_id", "secret_access_key", "session_token", "role_name", "session_name",
                     "external_id", "web_identity_token")
    }  # fmt: skip
    profile = params.text("aws_profile_name", on_unset=unset.append, most=128)
    region = params.text("aws_region_name", on_unset=unset.append)
    endpoint = params.url("aws_bedrock_runtime_endpoint", on_unset=unset.append)
    sts_endpoint = params.url("aws_sts_endpoint", on_unset=unset.append)
    if unset:
        return Aws(why_not=f"the variable {', '.join(unset)} is not set")
    region = bedrock_region(model) or region
    region = region or next((environ[name] for name in _REGION_VARIABLES if environ.get(name)), None)
    if region is not None and not AWS_REGION.match(region):
        params.error("aws_region_name", "no region of AWS is called so")
        return Aws()
    given_endpoint = environ.get("AWS_BEDROCK_RUNTIME_ENDPOINT")
    if endpoint is None and given_endpoint:
        if fault := url_fault(given_endpoint):
            params.error("aws_bedrock_runtime_endpoint", f"missing, and AWS_BEDROCK_RUNTIME_ENDPOINT: {fault}")
            return Aws()
        endpoint = given_endpoint
    if endpoint is None:
        if region is None:
            return Aws(why_not="no aws_region_name, and AWS_REGION is not set")
        endpoint = f"https://bedrock-runtime.{region}.amazonaws.com"
    region = region or "us-east-1"
    key_id, secret_key, token = given["access_key_id"], given["secret_access_key"], given["session_token"]
    by_role = [name for name in ("role_name", "web_identity_token", "session_name", "external_id") if given[name]]
    if key_id is None and secret_key is None and profile is None and not by_role:
        key_id, secret_key = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
        token = environ.get("AWS_SESSION_TOKEN")
    has_keys = bool(key_id and secret_key)
    if has_keys and not by_role:
        keys = AwsCredentials(
            key_id=key_id or "",
            secret_key=Secret(secret_key or ""),
            session_token=Secret(token) if token else None,
            region=region,
        )
        return Aws(endpoint=endpoint, keys=keys)
    api_key = params.entries.get("api_key")
    is_bearer = (api_key is not None and api_key.value is not None) or environ.get("AWS_BEARER_TOKEN_BEDROCK")
    if is_bearer and not by_role and profile is None:
        return Aws(endpoint=endpoint)
    asked = f"aws_{by_role[0]}" if by_role else "aws_profile_name" if profile is not None else None
    if not _is_sound(params, given, asked):
        return Aws()
    proof = given["web_identity_token"]
    if proof is not None and (proof := read_proof(params, "aws_web_identity_token", proof)) is None:
        return Aws()
    if not has_extra("bedrock"):
        if asked is None:
            return Aws(why_not="no aws_access_key_id and aws_secret_access_key, and their variables are not set; "
                       f"the machine's own identity {wanted('bedrock')}")  # fmt: skip
        params.error(asked, wanted("bedrock"))
        return Aws()
    source = AwsSource(
        region=region,
        profile=profile,
        role=given["role_name"],
        session_name=given["session_name"] or "routewright",
        external_id=given["external_id"],
        web_identity_token=Secret(proof) if proof else None,
        sts_endpoint=sts_endpoint,
        key_id=key_id if has_keys else None,
        secret_key=Secret(secret_key) if has_keys and secret_key else None,
        session_token=Secret(token) if has_keys and token else None,
    )
    return Aws(endpoint=endpoint, source=source)


def _is_sound(params: Section, given: dict[str, str | None], asked: str | None) -> bool:
    role, session = given["role_name"], given["session_name"]
    if role is None and asked not in (None, "aws_profile_name"):
        params.error(asked or "", "means something only beside aws_role_name")
        return False
    if role is not None and not _ROLE.match(role):
        params.error("aws_role_name", "expected the ARN of a role, arn:aws:iam::123456789012:role/name")
        return False
    if session is not None and not _SESSION.match(session):
        params.error("aws_session_name", "expected 2 to 64 letters, digits and =,.@-")
        return False
    return True
