"""Credentials that are fetched, at the socket: scripted token servers, real gateways, real google-auth and botocore."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from harness import dialect
from harness.gateway import TEAM_KEY, Gateway, base_config, deployment, eventually, running
from harness.upstream import Play, Request, Send, Upstream, Wait
from harness.wire import Wire, request_bytes, secret
from routewright.credentials import Credential, EntraSource
from routewright.deadlines import Deadlines
from routewright.types import Secret
from routewright.upstream.credentials import Credentials
from routewright.upstream.tokens.fetched import Way

ROLE = "arn:aws:iam::123456789012:role/gateway"
PRIVATE_KEY = rsa.generate_private_key(65537, 2048)
STREAM = {"stream": True}


def account(upstream: Upstream) -> dict[str, str]:
    """A service account's file, whose token server is scripted."""
    pem = PRIVATE_KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "project_id": "p-1",
        "private_key_id": secret("google-key-id"),
        "private_key": pem.decode(),
        "client_email": "gateway@p-1.example",
        "token_uri": f"http://127.0.0.1:{upstream.port}/google-token/token",
    }


def oauth(token: str, valid_s: int = 3600) -> bytes:
    return dialect.to_json({"access_token": secret(token), "expires_in": valid_s, "token_type": "Bearer"})


def sts_answer(operation: str, key_id: str, valid_s: int = 3600) -> bytes:
    """What STS answers, as its query protocol writes it."""
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + valid_s))
    credentials = (
        f"<Credentials><AccessKeyId>{key_id}</AccessKeyId><SecretAccessKey>{secret('sts')}</SecretAccessKey>"
        f"<SessionToken>{secret('session')}</SessionToken><Expiration>{end}</Expiration></Credentials>"
    )
    return (
        f'<{operation}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{operation}Result>{credentials}'
        f"</{operation}Result></{operation}Response>"
    ).encode()


def sts(request: Request) -> Play:
    operation = parse_qs(request.body.decode())["Action"][0]
    key_id = "ASIAROLE" if operation == "AssumeRole" else "ASIAWEB"
    return [Send(dialect.response(200, sts_answer(operation, key_id), {"content-type": "text/xml"}))]


def metadata(request: Request) -> Play:
    """The instance metadata service, version 2."""
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    if request.method == "PUT":
        body = b"metadata-token"
    elif request.path.endswith("security-credentials/"):
        body = b"gateway-role"
    else:
        body = dialect.to_json({"Code": "Success", "AccessKeyId": "ASIAMACHINE", "SecretAccessKey": secret("imds"),
                                "Token": secret("imds-token"), "Expiration": end})  # fmt: skip
    return [Send(dialect.response(200, body))]


@pytest.fixture(scope="module")
def fetching(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("credentials")
    (folder / "identity").write_text(f"{secret('web-identity')}\n")
    (folder / "aws").write_text(
        f"[work]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = {secret('profile')}\n"
    )
    upstream["google-token"].answers(200, oauth("google"))
    upstream["entra"].plays(Wait(0.3), Send(dialect.response(200, oauth("entra"))))
    told = f"AADSTS7000215: {secret('bad-client')} is wrong"
    upstream["refusing"].answers(401, {"error": "invalid_client", "error_description": told})
    upstream["silent"].hangs()
    upstream["sts"].runs(sts)
    upstream["imds"].runs(metadata)
    at = f"http://127.0.0.1:{upstream.port}"
    google: dict[str, Any] = {"provider": "vertex_ai", "api_key": None, "vertex_credentials": account(upstream),
                              "vertex_location": "europe-west1"}  # fmt: skip
    aws: dict[str, Any] = {"provider": "bedrock", "model": "amazon.nova-pro-v1:0", "api_key": None,
                           "aws_region_name": "eu-west-1", "aws_sts_endpoint": f"{at}/sts"}  # fmt: skip
    keys = {"aws_access_key_id": "AKIDBASE", "aws_secret_access_key": secret("base")}
    azure: dict[str, Any] = {"provider": "azure", "api_key": None, "client_id": "client-1", "model": "gpt-4o",
                             "api_version": "2024-10-21"}  # fmt: skip
    config = base_config(upstream, router_settings={"num_retries": 0})
    config["model_list"] += [
        deployment("vertex", upstream, "vertex", model="gemini-2.5-pro", **google),
        deployment("vertex-claude", upstream, "vertex-claude", model="claude-sonnet-4-5@20250929", **google),
        deployment("vertex-llama", upstream, "vertex-llama", model="meta/llama-4-maas", **google),
        deployment("vertex-embed", upstream, "vertex-embed", model="text-embedding-005", **google),
        deployment("azure", upstream, "azure", tenant_id="tenant-1", client_secret=secret("client"), **azure),
        deployment("role", upstream, "role", aws_role_name=ROLE, aws_session_name="me", aws_external_id="x-1",
                   **aws, **keys),
        deployment("web", upstream, "web", aws_role_name=ROLE, aws_web_identity_token=str(folder / "identity"), **aws),
        deployment("profile", upstream, "profile", aws_profile_name="work", **aws),
        deployment("machine", upstream, "machine", **aws),
        deployment("embeds", upstream, "embeds", aws_role_name=ROLE, aws_web_identity_token="oidc/env/PROOF",
                   **{**aws, "model": "cohere.embed-english-v3"}),
        deployment("hollow", upstream, "hollow", tenant_id="tenant-2", client_secret=secret("bad-client"), **azure),
        deployment("hollow-first", upstream, "hollow", order=1, tenant_id="tenant-2",
                   client_secret=secret("bad-client"), **azure),
        deployment("hollow-first", upstream, "hollow-second", order=2),
        deployment("waits", upstream, "waits", tenant_id="tenant-3", client_secret=secret("client"), **azure),
    ]  # fmt: skip
    # Entra's address has the tenant in its path: one scripted server a tenant.
    environment = {
        "AZURE_AUTHORITY_HOST": at,
        "PROOF": secret("web-identity"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "aws"),
        "AWS_CONFIG_FILE": str(folder / "none"),
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{at}/imds/",
        "NO_PROXY": "127.0.0.1",
    }
    for name in ("tenant-1", "tenant-2", "tenant-3"):
        upstream[name].runs({"tenant-1": upstream["entra"], "tenant-2": upstream["refusing"],
                             "tenant-3": upstream["silent"]}[name]._always)  # fmt: skip
    with running(config, environment=environment) as started:
        yield started


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_service_account_signs_and_its_token_opens_vertex(fetching: Gateway, upstream: Upstream) -> None:
    assert fetching.chat("vertex").json["choices"][0]["message"]["content"] == "Hello from vertex"
    assert fetching.chat("vertex", stream=True).status == 200
    asked = upstream["google-token"].requests
    assertion = parse_qs(asked[0].body.decode())["assertion"][0]
    head, claims, signature = assertion.split(".")
    PRIVATE_KEY.public_key().verify(
        decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
    )
    said = json.loads(decoded(claims))
    assert (said["iss"], said["scope"]) == (
        "gateway@p-1.example", "https://www.googleapis.com/auth/cloud-platform"
    )  # fmt: skip
    whole, streamed = upstream["vertex"].requests[-2:]
    assert whole.path.endswith("v1/publishers/google/models/gemini-2.5-pro:generateContent")
    assert streamed.path.endswith("gemini-2.5-pro:streamGenerateContent?alt=sse")
    assert {each.headers["authorization"] for each in (whole, streamed)} == {f"Bearer {secret('google')}"}
    assert "x-goog-api-key" not in whole.headers


def test_all_of_vertex_goes_by_one_token(fetching: Gateway, upstream: Upstream) -> None:
    assert fetching.chat("vertex-claude").json["choices"][0]["message"]["content"] == "Hello from vertex-claude"
    assert "Hello" in fetching.chat("vertex-claude", stream=True).text
    whole, streamed = upstream["vertex-claude"].requests
    assert whole.path.endswith("publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict")
    assert streamed.path.endswith(":streamRawPredict")
    assert whole.json["anthropic_version"] == "vertex-2023-10-16"
    assert "model" not in whole.json
    assert streamed.json["stream"] is True

    body = {"model": "vertex-claude", "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]}
    reply = fetching.request("POST", "/v1/messages", body, headers={"anthropic-beta": "context-1m-2025-08-07"})
    assert (reply.status, reply.json["model"]) == (200, "vertex-claude")
    native = upstream["vertex-claude"].last
    assert (native.headers["anthropic-beta"], "model" in native.json) == ("context-1m-2025-08-07", False)
    assert fetching.request("POST", "/v1/messages/count_tokens", body).json == {"input_tokens": 14}

    assert fetching.chat("vertex-llama").status == 200
    assert upstream["vertex-llama"].last.path.endswith("endpoints/openapi/chat/completions")
    assert upstream["vertex-llama"].last.json["model"] == "meta/llama-4-maas"

    google = {"contents": [{"parts": [{"text": "hi"}]}]}
    assert fetching.request("POST", "/v1beta/models/vertex:generateContent", google).status == 200
    assert upstream["vertex"].last.json["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]
    assert fetching.request("POST", "/v1beta/models/vertex:countTokens", google).json["totalTokens"] == 14
    assert upstream["google-token"].hits == 1


def test_vertex_embeds(fetching: Gateway, upstream: Upstream) -> None:
    body = {"model": "vertex-embed", "input": ["a", "b"], "dimensions": 8}
    reply = fetching.request("POST", "/v1/embeddings", body)
    assert [row["embedding"] for row in reply.json["data"]] == [dialect.vector(0), dialect.vector(1)]
    assert reply.json["usage"]["prompt_tokens"] == 8
    assert fetching.record_of(reply)["prompt_tokens"] == 8
    sent = upstream["vertex-embed"].last
    assert sent.path.endswith("text-embedding-005:predict")
    assert sent.json == {"instances": [{"content": "a"}, {"content": "b"}], "parameters": {"outputDimensionality": 8}}


def test_entra_s_token_opens_azure(fetching: Gateway, upstream: Upstream) -> None:
    assert fetching.chat("azure").status == 200
    asked = upstream["tenant-1"].last
    assert asked.path == "oauth2/v2.0/token"
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["client-1"],
        "client_secret": [secret("client")],
        "scope": ["https://cognitiveservices.azure.com/.default"],
    }
    sent = upstream["azure"].last
    assert sent.headers["authorization"] == f"Bearer {secret('entra')}"
    assert "api-key" not in sent.headers


@pytest.mark.parametrize(
    ("model", "key_id", "key", "token"),
    [
        ("role", "ASIAROLE", "sts", "session"),
        ("web", "ASIAWEB", "sts", "session"),
        ("profile", "AKIDPROFILE", "profile", None),
        ("machine", "ASIAMACHINE", "imds", "imds-token"),
    ],
)
def test_bedrock_is_signed_by_a_fetched_identity(
    model: str, key_id: str, key: str, token: str | None, fetching: Gateway, upstream: Upstream
) -> None:
    assert fetching.chat(model).json["choices"][0]["message"]["content"] == f"Hello from {model}"
    sent = upstream[model].last
    assert sent.headers.get("x-amz-security-token") == (None if token is None else secret(token))
    signature = sent.headers["authorization"]
    assert f"Credential={key_id}/" in signature
    assert signature.endswith(signed(sent, key))


def signed(request: Request, key: str) -> str:
    """The signature that AWS would find, by its own rules."""
    names = request.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    stamp = request.headers["x-amz-date"]
    scope = f"{stamp[:8]}/eu-west-1/bedrock/aws4_request"
    lines = [request.method, request.target.replace("%", "%25"), ""]
    lines += [f"{name}:{request.headers[name]}" for name in names.split(";")]
    lines += ["", names, hashlib.sha256(request.body).hexdigest()]
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"
    digest = f"AWS4{secret(key)}".encode()
    for part in (*scope.split("/"), text):
        digest = hmac.new(digest, part.encode(), hashlib.sha256).digest()
    return digest.hex()


def test_bedrock_embeds_by_a_fetched_identity(fetching: Gateway, upstream: Upstream) -> None:
    reply = fetching.request("POST", "/v1/embeddings", {"model": "embeds", "input": ["a", "b"]})
    assert [row["embedding"] for row in reply.json["data"]] == [dialect.vector(0), dialect.vector(1)]
    sent = upstream["embeds"].last
    assert sent.path.endswith("model/cohere.embed-english-v3/invoke")
    assert sent.headers["authorization"].endswith(signed(sent, "sts"))


def test_a_role_is_taken_on_with_what_the_deployment_has(fetching: Gateway, upstream: Upstream) -> None:
    fetching.chat("role")
    fetching.chat("web")
    asked = {parse_qs(each.body.decode())["Action"][0]: each for each in upstream["sts"].requests}
    by_key, by_token = (parse_qs(asked[name].body.decode()) for name in ("AssumeRole", "AssumeRoleWithWebIdentity"))
    assert (by_key["RoleArn"], by_key["RoleSessionName"], by_key["ExternalId"]) == ([ROLE], ["me"], ["x-1"])
    assert "Credential=AKIDBASE/" in asked["AssumeRole"].headers["authorization"]
    assert by_token["WebIdentityToken"] == [secret("web-identity")]
    assert "authorization" not in asked["AssumeRoleWithWebIdentity"].headers


def test_a_refused_credential_is_an_error_of_the_gateway_s_and_is_told_once(
    fetching: Gateway, upstream: Upstream
) -> None:
    replies = [fetching.chat("hollow") for _ in range(5)]
    assert {(reply.status, reply.error["code"]) for reply in replies} == {(502, "upstream_auth_error")}
    record = fetching.record_of(replies[0])
    assert (record["ended"], record["error_code"], record["cost_nusd"]) == ("refused", "upstream_auth_error", 0)
    assert upstream["hollow"].hits == 0
    told = [line for line in fetching.output().splitlines() if "no credential for Microsoft Entra" in line]
    assert len(told) == 1
    assert "invalid_client AADSTS7000215: *** is wrong" in told[0]
    assert upstream["tenant-2"].hits < 6


def test_another_deployment_answers_where_there_is_no_credential(fetching: Gateway) -> None:
    reply = fetching.chat("hollow-first", num_retries=1)
    assert reply.json["choices"][0]["message"]["content"] == "Hello from hollow-second"


def test_a_client_that_leaves_while_a_credential_is_fetched(fetching: Gateway, upstream: Upstream) -> None:
    before = len(fetching.journal())
    with Wire(fetching.port) as client:
        body = dialect.to_json({"model": "waits", "messages": [{"role": "user", "content": "x"}]})
        client.send(request_bytes("POST", "/v1/chat/completions", key=TEAM_KEY, body=body))
        eventually(lambda: upstream["tenant-3"].hits)
        time.sleep(0.1)
    record = eventually(lambda: fetching.journal()[before:])[-1]
    assert (record["ended"], record["attempts"], record["cost_nusd"]) == ("client_gone", 0, 0)


def test_identities_that_azure_gives(upstream: Upstream, tmp_path: Path) -> None:
    """A workload's file is read anew each time; an app proves itself by a header, a machine by where it asks from."""
    (tmp_path / "token").write_text("first.proof\n")
    at = f"http://127.0.0.1:{upstream.port}"
    end = str(int(time.time()) + 3600)
    app = {"access_token": secret("app"), "expires_on": end, "token_type": "Bearer"}
    upstream["tenant-7"].answers(200, oauth("workload", 1))
    upstream["app-identity"].answers(200, app)
    upstream["machine-identity"].answers(200, {**app, "access_token": secret("machine"), "expires_in": "3600"})
    azure: dict[str, Any] = {"provider": "azure", "api_key": None, "model": "gpt-4o", "api_version": "2024-10-21"}
    config = base_config(upstream, litellm_settings={"enable_azure_ad_token_refresh": True})
    config["model_list"].append(deployment("own", upstream, "own", **azure))
    workload = {"AZURE_TENANT_ID": "tenant-7", "AZURE_CLIENT_ID": "client-7", "AZURE_AUTHORITY_HOST": at,
                "AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "token")}  # fmt: skip
    environments = {
        "workload": workload,
        "app": {"IDENTITY_ENDPOINT": f"{at}/app-identity/token", "IDENTITY_HEADER": secret("header")},
        "machine": {"AZURE_POD_IDENTITY_AUTHORITY_HOST": f"{at}/machine-identity", "AZURE_CLIENT_ID": "client-8"},
    }
    for name, environment in environments.items():
        with running(config, environment={**environment, "NO_PROXY": "127.0.0.1"}) as started:
            assert started.chat("own").status == 200
            assert upstream["own"].last.headers["authorization"] == f"Bearer {secret(name)}"
            if name == "workload":
                asked = parse_qs(upstream["tenant-7"].last.body.decode())
                assert asked["client_assertion"] == ["first.proof"]
                assert asked["client_assertion_type"] == ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]
                assert "client_secret" not in asked
                (tmp_path / "token").write_text("second.proof\n")
                eventually(lambda: "second.proof" in upstream["tenant-7"].last.body.decode())
            assert "proof" not in started.output()
    asked_app, asked_machine = upstream["app-identity"].last, upstream["machine-identity"].last
    assert asked_app.headers["x-identity-header"] == secret("header")
    assert parse_qs(asked_app.path.partition("?")[2]) == {
        "api-version": ["2019-08-01"], "resource": ["https://cognitiveservices.azure.com"]
    }  # fmt: skip
    assert asked_machine.headers["metadata"] == "true"
    assert parse_qs(asked_machine.path.partition("?")[2]) == {
        "api-version": ["2018-02-01"], "resource": ["https://cognitiveservices.azure.com"], "client_id": ["client-8"]
    }  # fmt: skip


def test_a_token_is_renewed_beside_the_requests(upstream: Upstream, tmp_path: Path) -> None:
    """Tokens live for a second; no request waits for the next, none fails, and a slow renewal hurts nobody."""
    count = iter(range(1000))

    def issue(request: Request) -> Play:
        number = next(count)
        return [Wait(0.1 if number else 0.0), Send(dialect.response(200, oauth(f"short-{number}", 1)))]

    upstream["tenant-4"].runs(issue)
    config = base_config(upstream, router_settings={"num_retries": 0})
    config["model_list"].append(
        deployment("short", upstream, "short", provider="azure", model="gpt-4o", api_key=None, tenant_id="tenant-4",
                   client_id="c", client_secret=secret("client"))
    )  # fmt: skip
    with running(config, environment={"AZURE_AUTHORITY_HOST": f"http://127.0.0.1:{upstream.port}"}) as gateway:
        end_s = time.monotonic() + 2.5
        statuses = set()
        while time.monotonic() < end_s:
            statuses.add(gateway.chat("short").status)
            time.sleep(0.05)
    assert statuses == {200}
    used = {each.headers["authorization"] for each in upstream["short"].requests}
    assert {f"Bearer {secret('short-0')}", f"Bearer {secret('short-1')}", f"Bearer {secret('short-2')}"} <= used


# --- the keeper of credentials, by a clock of its own ----------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_failing_server_is_asked_ever_less_often_and_the_old_token_stays_to_its_end(upstream: Upstream) -> None:
    server = upstream["tenant-5"]
    server.answers(200, oauth("old", 100), times=1)
    server.answers(503, {})
    clock = Clock()

    async def run() -> None:
        keeper = Credentials(deadlines := Deadlines(clock), lambda: Way(lambda: pytest.fail("no TLS here")))
        credential = keeper.of(
            EntraSource(tenant_id="tenant-5", client_id="c", client_secret=Secret("s"),
                        authority=f"http://127.0.0.1:{upstream.port}")
        )  # fmt: skip
        assert keeper.of(credential.source) is credential

        async def tick(by_s: float, hits: int) -> None:
            clock.now += by_s
            deadlines.sweep()
            for _ in range(500):
                if server.hits >= hits and not any(kept.is_running for kept in keeper._kept.values()):
                    break
                await asyncio.sleep(0.01)
            assert server.hits == hits

        await tick(0, 1)
        assert credential.bearer() == secret("old").encode()
        await tick(79, 1)
        await tick(1, 2)  # a fifth of its time before its end
        assert credential.bearer() == secret("old").encode()
        await tick(0.5, 2)
        await tick(0.5, 3)
        await tick(1.5, 3)
        await tick(0.5, 4)
        assert credential.bearer() == secret("old").encode()
        await tick(30, 5)
        assert credential.token is None
        assert credential.failure is not None
        server.answers(200, oauth("new", 100))
        await tick(60, 6)
        assert (credential.bearer(), credential.failure) == (secret("new").encode(), None)
        credential.is_doubted = True
        await tick(29, 6)
        await tick(1, 7)  # the upstream refused it: fetched anew, though not at once
        keeper.keep_only([])
        await tick(1000, 7)

    asyncio.run(run())


def test_secrets_of_a_credential_are_hidden_as_they_change() -> None:
    from routewright.credentials import Hidden

    credential = Credential(EntraSource(tenant_id="t", client_id="c", client_secret=Secret("s")))
    hidden = Hidden(["fixed"], credential)
    assert list(hidden) == ["fixed"]
    credential.token = Secret("token-1")
    assert (list(hidden), len(hidden), hidden[1]) == (["fixed", "token-1"], 2, "token-1")
    credential.token = Secret("token-2")
    assert "token-2" in hidden
    assert "token-1" not in hidden
