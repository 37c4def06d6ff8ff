"""Credentials of AWS by profile, role, web identity, or from the machine: by botocore (the extra `bedrock`)."""

from __future__ import annotations

import datetime
from typing import Any

from routewright.credentials import AwsCredentials, AwsSource
from routewright.types import Secret
from routewright.upstream.tokens.entra import proof_of
from routewright.upstream.tokens.fetched import TIMEOUT_S, Fetched, FetchError

USUAL_S = 300.0
"""Of what names no end. AWS has a successor ready at least five minutes before an identity of its machines ends."""


def fetch(source: AwsSource) -> Fetched:
    """Raises FetchError with what botocore says is wrong."""
    import botocore.session
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        session = botocore.session.Session(profile=source.profile)
        if source.key_id is not None and source.secret_key is not None:
            token = source.session_token.reveal() if source.session_token is not None else None
            session.set_credentials(source.key_id, source.secret_key.reveal(), token)
        if source.role is not None:
            return _role(source, session)
        found = session.get_credentials()
        if found is None:
            raise FetchError("the machine has no credentials: no variables, profile, container or instance role")
        frozen = found.get_frozen_credentials()
    except (BotoCoreError, ClientError, OSError) as error:
        raise FetchError(str(error)) from error
    return Fetched(_credentials(source, frozen.access_key, frozen.secret_key, frozen.token), USUAL_S)


def _role(source: AwsSource, session: Any) -> Fetched:
    from botocore.config import Config

    config = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"total_max_attempts": 2})
    sts = session.create_client("sts", region_name=source.region, endpoint_url=source.sts_endpoint, config=config)
    asked = {"RoleArn": source.role, "RoleSessionName": source.session_name}
    if source.web_identity_token is not None:
        answer = sts.assume_role_with_web_identity(
            **asked, WebIdentityToken=proof_of(source.web_identity_token.reveal())
        )
    else:
        if source.external_id is not None:
            asked["ExternalId"] = source.external_id
        answer = sts.assume_role(**asked)
    given = answer["Credentials"]
    valid_s = (given["Expiration"] - datetime.datetime.now(datetime.UTC)).total_seconds()
    return Fetched(_credentials(source, given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]), valid_s)


def _credentials(source: AwsSource, key_id: str, secret_key: str, token: str | None) -> AwsCredentials:
    return AwsCredentials(
        key_id=key_id,
        secret_key=Secret(secret_key),
        session_token=Secret(token) if token else None,
        region=source.region,
    )
