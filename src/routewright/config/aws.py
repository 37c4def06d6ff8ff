"""`aws_*` of a deployment: where Amazon Bedrock is, and what requests are signed with."""

from __future__ import annotations

from collections.abc import Mapping

from routewright.config.section import Section
from routewright.providers.names import AWS_REGION, bedrock_region
from routewright.settings import AwsCredentials
from routewright.types import Secret

_REGION_VARIABLES = ("AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION")
_BY_ROLE = ("aws_role_name", "aws_profile_name", "aws_web_identity_token", "aws_session_name", "aws_external_id")


def read_aws(
    params: Section, model: str, environ: Mapping[str, str]
) -> tuple[AwsCredentials | None, str | None, str | None]:
    """(credentials, endpoint, why the deployment can't be used).

    Keys come from the deployment, else from the process's variables, never half from each.
    """
    unset: list[str] = []
    key_id = params.token("aws_access_key_id", on_unset=unset.append)
    secret_key = params.token("aws_secret_access_key", on_unset=unset.append)
    session_token = params.token("aws_session_token", on_unset=unset.append)
    region = params.text("aws_region_name", on_unset=unset.append)
    endpoint = params.url("aws_bedrock_runtime_endpoint", on_unset=unset.append)
    if unset:
        return None, None, f"the variable {', '.join(unset)} is not set"
    if key_id is None and secret_key is None:
        key_id, secret_key = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
        session_token = environ.get("AWS_SESSION_TOKEN")
    given = bedrock_region(model) or region
    region = given or next((environ[name] for name in _REGION_VARIABLES if environ.get(name)), None)
    if region is not None and not AWS_REGION.match(region):
        params.error("aws_region_name", "no region of AWS is called so")
        return None, None, None
    if endpoint is None:
        if region is None:
            return None, None, "no aws_region_name, and AWS_REGION is not set"
        endpoint = f"https://bedrock-runtime.{region}.amazonaws.com"
    if key_id and secret_key:
        token = Secret(session_token) if session_token else None
        return AwsCredentials(key_id=key_id, secret_key=Secret(secret_key), session_token=token,
                              region=region or "us-east-1"), endpoint, None  # fmt: skip
    if "api_key" in params.entries or environ.get("AWS_BEARER_TOKEN_BEDROCK"):
        return None, endpoint, None
    by_role = [name for name in _BY_ROLE if name in params.entries]
    if by_role:
        return None, None, f"credentials by {by_role[0]} are not fetched yet; give aws_access_key_id and its secret"
    return None, None, "no aws_access_key_id and aws_secret_access_key, and their variables are not set"
