"""The input of a batch on its way to a provider: each line checked as the request that it is, and named anew.

A line's `model` is a name of this gateway's, which no provider knows; what goes on has the deployment's. All lines of a
file go to one place, so they name one model. What each may use at most is summed up, for the batch that will be made.
Source: OpenAI's guide on batches, for the format.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from routewright import endpoints
from routewright.account_names import FILES, MAX_FILES, file_ids, names_in, reaches
from routewright.errors import GatewayError, InvalidRequest, RefusedField
from routewright.gateway import PARSERS
from routewright.types import Call, Deployment, Group, HttpRequest
from routewright.wire.json import decode_object, encode

MAX_LINE_BYTES = 10 * 1024 * 1024
"""As much as a request by itself may have."""
USUAL_OUTPUT_TOKENS = 1024
"""Reserved for an answer whose line bounds it by nothing; nobody sees how long the answers of a batch usually are."""
_URLS = {
    "/chat/completions": endpoints.CHAT,
    "/completions": endpoints.COMPLETIONS,
    "/embeddings": endpoints.EMBEDDINGS,
    "/responses": endpoints.RESPONSES,
    "/moderations": endpoints.EXACT["/moderations"],
}
_WITHOUT_ANSWER = frozenset({"embeddings", "moderations"})
_FIELDS = frozenset({"custom_id", "method", "url", "body"})


class BatchLines:
    """Takes a file piece by piece and gives it back line by line."""

    def __init__(self, group_of: Callable[[str], Group]) -> None:
        """`group_of`: who may answer a model's name. Raises GatewayError where the caller may not use it."""
        self._group_of = group_of
        self._groups: dict[str, Group] = {}
        self._pending = b""
        self._is_last = False
        self._model = ""
        self._url = ""
        self._request = HttpRequest()
        self._request.headers = {}
        self._request.model_in_path = None
        self.group: Group | None = None
        """Known once the first line has come."""
        self.count = 0
        self.prompt_tokens = 0
        self.output_tokens = 0
        self._files: set[str] = set()
        """That the lines name: whose they are is asked when the batch is made."""

    def take(self, data: bytes, is_last: bool) -> bool:
        """More of the file. True: its first line has come, so `group` is known. Raises InvalidRequest and its kin,
        which name the line."""
        self._pending += data
        self._is_last = is_last
        if self.group is None:
            first, newline, _ = self._pending.lstrip(b"\r\n").partition(b"\n")
            if newline or is_last:
                self.read(first, 1)
            elif len(first) > MAX_LINE_BYTES:
                raise too_long(1)
        return self.group is not None

    def give(self, deployment: Deployment) -> bytes:
        """Every line that is whole, as `deployment` knows its model. Raises InvalidRequest and its kin."""
        *lines, rest = self._pending.split(b"\n")
        self._pending = rest
        if self._is_last:
            lines.append(rest)
            self._pending = b""
        out = []
        for line in lines:
            line = line.strip(b"\r ")
            if not line:
                continue
            self.count += 1
            given, call = self.read(line, self.count)
            self._count(call)
            body = {**deployment.default_params, **call.body}
            for name in deployment.drop_params:
                body.pop(name, None)
            body["model"] = deployment.upstream_model
            if call.endpoint == "responses":
                body["store"] = False  # as for requests by themselves: nothing is kept there that nobody could find
            out.append(encode({**given, "body": body}) + b"\n")
        if len(rest) > MAX_LINE_BYTES:
            raise too_long(self.count + 1)
        return b"".join(out)

    def about(self) -> dict[str, Any]:
        """What a batch of this file may use at most."""
        about = {"lines": self.count, "prompt_tokens": self.prompt_tokens, "output_tokens": self.output_tokens,
                 "url": self._url}  # fmt: skip
        return {**about, "files": sorted(self._files)} if self._files else about

    def _count(self, call: Call) -> None:
        self.prompt_tokens += call.prompt_tokens_estimate
        if call.endpoint not in _WITHOUT_ANSWER:
            most = call.max_tokens if call.max_tokens is not None else USUAL_OUTPUT_TOKENS
            self.output_tokens += most * call.n_choices

    def read(self, line: bytes, number: int) -> tuple[dict[str, Any], Call]:
        """A line, and the request in it. Raises InvalidRequest and its kin, which name the line."""
        try:
            return self._checked(line)
        except GatewayError as error:
            error.message = f"line {number} of the file: {error.message}"
            raise

    def _checked(self, line: bytes) -> tuple[dict[str, Any], Call]:
        if len(line) > MAX_LINE_BYTES:
            raise InvalidRequest(f"has more than {MAX_LINE_BYTES} bytes", param="file")
        given = decode_object(line)
        unknown = given.keys() - _FIELDS
        if unknown:
            raise InvalidRequest(f'"{min(unknown)[:64]}" is no field of a batch\'s line', param="file")
        custom_id, url, body = given.get("custom_id"), given.get("url"), given.get("body")
        if type(custom_id) is not str or not custom_id:
            raise InvalidRequest("custom_id must be a text", param="file")
        if given.get("method") != "POST":
            raise InvalidRequest("method must be POST", param="file")
        endpoint = _URLS.get(url.removeprefix("/v1")) if type(url) is str else None
        if type(url) is not str or endpoint is None:
            raise InvalidRequest(f"url must be one of {', '.join('/v1' + each for each in _URLS)}", param="file")
        if self._url and url != self._url:
            raise InvalidRequest("url is not that of the first line; a batch has one endpoint", param="file")
        if type(body) is not dict:
            raise InvalidRequest("body must be an object", param="file")
        self._request.endpoint, self._request.body = endpoint, encode(body)
        call = PARSERS[endpoint.name](self._request)
        if call.is_stream:
            raise InvalidRequest("a batch has no streams", param="stream")
        if call.mock is not None:
            raise RefusedField(f"{call.mock.field} is not for batches", param=call.mock.field)
        self._look(call)
        group = self._groups.get(call.model)
        if group is None:
            group = self._groups[call.model] = self._group_of(call.model)
        if self.group is None:
            self.group, self._model, self._url = group, call.model, url
        elif group is not self.group:
            raise InvalidRequest(
                f'model "{call.model}" is served elsewhere than "{self._model}" of the first line; all lines of a file '
                "go to one model", param="model",
            )  # fmt: skip
        return given, call

    def _look(self, call: Call) -> None:
        """What it names of the account. Raises InvalidRequest for what has no owner here."""
        for name, where, inner in names_in(call.body, "body"):
            if name not in FILES:
                raise reaches(where)
            self._files.update(file_ids(inner, where))
        if len(self._files) > MAX_FILES:
            raise InvalidRequest(f"the lines of a file may name {MAX_FILES} files at most", param="file")
        items = call.body.get("input") if call.endpoint == "responses" else None
        for item in items if type(items) is list else ():
            if item.get("type") == "item_reference":
                raise reaches("input")


def too_long(number: int) -> InvalidRequest:
    """The error for a line with more than MAX_LINE_BYTES."""
    return InvalidRequest(f"line {number} of the file: has more than {MAX_LINE_BYTES} bytes", param="file")
