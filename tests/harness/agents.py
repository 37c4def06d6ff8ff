"""Scripted upstreams that an agent can work with, in every dialect: they call the first tool that they are offered,
tell what it gave, answer in JSON where that is asked for, and else say hello."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import bedrock, dialect, ollama
from harness.gateway import deployment
from harness.said import TONGUES, Said, Tongue, Tool
from harness.upstream import Deployment, Play, Request, Send, Upstream
from harness.wire import secret
from routewright.providers.anthropic import JSON_TOOL

ARGUMENTS = '{"city":"Zürich"}'
"""Of every call, and every answer in JSON."""
AGENTS = {
    "agent-openai": ("openai", "openai", "gpt-4o"),
    "agent-responses": ("responses", "openai", "responses/gpt-5.2"),
    "agent-anthropic": ("anthropic", "anthropic", "claude-sonnet-4-5-20250929"),
    "agent-gemini": ("gemini", "gemini", "gemini-2.5-flash"),
    "agent-bedrock": ("bedrock", "bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    "agent-cohere": ("cohere", "cohere", "command-a-03-2025"),
    "agent-ollama": ("ollama", "ollama_chat", "llama3.1"),
}
"""Model -> the dialect behind it, the provider, the provider's name for it."""
_STREAM_HEADERS = {"bedrock": bedrock.STREAM_HEADERS, "ollama": ollama.STREAM_HEADERS}


def agents(upstream: Upstream) -> list[dict[str, Any]]:
    """Entries of `model_list`, one a dialect; call `work` on each test."""
    entries = []
    for name, (spoken, provider, model) in AGENTS.items():
        params: dict[str, Any] = {}
        if spoken == "bedrock":
            params = {"api_key": None, "aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": secret(name),
                      "aws_region_name": "us-east-1"}  # fmt: skip
        elif spoken == "ollama":
            params = {"api_base": upstream[name].api_base.removesuffix("/v1")}
        entries.append(deployment(name, upstream, name, provider=provider, model=model, **params))
    return entries


def work(upstream: Upstream) -> None:
    for name, (spoken, _, _) in AGENTS.items():
        upstream[name].forget()
        _converses(upstream[name], spoken)


def _converses(place: Deployment, spoken: str) -> None:
    tongue = TONGUES[spoken]

    def answer(request: Request) -> Play:
        if "ount" in request.path.rpartition("/")[2]:  # of tokens
            return place._answer_well(request)
        body = request.json
        said = tongue.can_say(_said(tongue, body, place.name))
        if body.get("stream") or "stream" in request.path:
            return [Send(b"".join(dialect.chunked_stream(tongue.stream(said), _STREAM_HEADERS.get(spoken))))]
        return [Send(dialect.response(200, dialect.to_json(tongue.whole(said))))]

    place.runs(answer)


def _said(tongue: Tongue, body: Mapping[str, Any], name: str) -> Said:
    results = tongue.read(body).results
    tools = offered(body)
    figures = {"prompt": 9, "cached": 0, "completion": 3}
    if results:
        return Said(texts=("It is ", f"{results[-1][1].strip()} there."), **figures)
    if tools and not body.get("format"):  # Ollama's, which stands for a tool that is forced
        texts = () if tools[0] == JSON_TOOL else ("Let me ", "look.")  # nothing is said before a tool that is forced
        return Said(texts, tools=(Tool("call_1", tools[0], ARGUMENTS),), finish="tool_calls", **figures)
    if wants_json(body):
        return Said(texts=(ARGUMENTS[:7], ARGUMENTS[7:]), **figures)
    return Said(texts=("Hello", " from", f" {name}"), **figures)


def offered(body: Mapping[str, Any]) -> list[str]:
    """Names of the tools that a request offers, in any dialect."""
    if "toolConfig" in body and "tools" in body["toolConfig"]:
        return [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"] if "toolSpec" in tool]
    names = []
    for tool in body.get("tools") or ():
        if "functionDeclarations" in tool:
            names += [declared["name"] for declared in tool["functionDeclarations"]]
        else:
            names.append(tool.get("function", tool)["name"])
    return names


def wants_json(body: Mapping[str, Any]) -> bool:
    asked = ((body.get("text") or {}).get("format") or {}).get("type", "text") != "text"  # Responses'
    places = (body.get("response_format"), body.get("output_config"), body.get("format"), asked)
    return any(places) or (body.get("generationConfig") or {}).get("responseMimeType") == "application/json"
