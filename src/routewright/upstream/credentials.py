"""Keeps credentials that expire: each is fetched in a thread, beside the requests, and renewed before it ends."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import logging
import threading
from collections.abc import Callable, Iterable

from routewright.credentials import (
    AwsCredentials,
    AwsSource,
    Credential,
    CredentialSource,
    EntraSource,
    GoogleSource,
    ManagedSource,
)
from routewright.deadlines import Deadlines
from routewright.errors import UpstreamAuthError, clean_text
from routewright.upstream.tokens import aws, entra, google
from routewright.upstream.tokens.fetched import Fetched, FetchError, Way

RENEW_SHARE = 0.2
"""Of a credential's time, before its end; at most `RENEW_MOST_S`."""
RENEW_MOST_S = 600.0
AGAIN_FIRST_S = 1.0
AGAIN_MOST_S = 60.0
DOUBTED_AGAIN_S = 30.0
"""A credential that the upstream refuses is fetched anew, but no more often than this."""
log = logging.getLogger("routewright")


class _Kept:
    """A credential and its times, monotonic."""

    __slots__ = ("credential", "end_s", "failures", "fetched_s", "is_running", "next_s", "reason")

    def __init__(self, credential: Credential) -> None:
        self.credential = credential
        self.next_s = 0.0
        """When it is fetched next."""
        self.end_s = 0.0
        self.fetched_s = 0.0
        self.failures = 0
        self.reason = ""
        self.is_running = False


class Credentials:
    """All of a worker's. `of` gives one by its source; the tick does the rest."""

    def __init__(self, deadlines: Deadlines, way: Callable[[], Way]) -> None:
        self._deadlines = deadlines
        self._way = way
        self._kept: dict[CredentialSource, _Kept] = {}
        deadlines.every_tick(self._on_tick)

    def of(self, source: CredentialSource) -> Credential:
        """The same for all deployments that name the same source, before and after a reload."""
        kept = self._kept.get(source)
        if kept is None:
            kept = self._kept[source] = _Kept(Credential(source))
        return kept.credential

    def keep_only(self, sources: Iterable[CredentialSource]) -> None:
        """Renew no others from now on."""
        wanted = set(sources)
        self._kept = {source: kept for source, kept in self._kept.items() if source in wanted}

    def when_known(self, credential: Credential, call: Callable[[None], None]) -> None:
        """Call back once it is known, or known not to be had; at once where the last try has just failed."""
        kept = self._kept.get(credential.source)
        if kept is None or (kept.failures and not kept.is_running):
            call(None)
            return
        credential.waiting.append(call)
        self._start(kept)

    # --- fetching -------------------------------------------------------------------------------------------------

    def _on_tick(self, now: float) -> None:
        for kept in self._kept.values():
            credential = kept.credential
            if kept.end_s and now >= kept.end_s:
                credential.token = credential.aws = None
                kept.end_s = 0.0
            if credential.is_doubted and now - kept.fetched_s >= DOUBTED_AGAIN_S:
                kept.next_s = now
            if now >= kept.next_s:
                self._start(kept)

    def _start(self, kept: _Kept) -> None:
        if kept.is_running:
            return
        kept.is_running = True
        loop = asyncio.get_running_loop()

        def run() -> None:
            result = _fetch(kept.credential.source, self._way())
            with contextlib.suppress(RuntimeError):  # the worker has ended meanwhile
                loop.call_soon_threadsafe(self._ended, kept, result)

        # One a source at most. A daemon, since a server that does not answer must not keep the worker from its end.
        threading.Thread(target=run, name="credential", daemon=True).start()

    def _ended(self, kept: _Kept, result: Fetched | str) -> None:
        kept.is_running = False
        now = kept.fetched_s = self._deadlines.now
        credential = kept.credential
        credential.is_doubted = False
        if isinstance(result, Fetched):
            if kept.failures:
                log.info("the credential for %s was fetched again", credential.source)
            kept.failures = 0
            credential.failure = None
            if isinstance(result.value, AwsCredentials):
                credential.aws = result.value
            else:
                credential.token = result.value
            kept.end_s = now + result.valid_s
            kept.next_s = kept.end_s - min(RENEW_MOST_S, result.valid_s * RENEW_SHARE)
        else:
            kept.failures += 1
            kept.next_s = now + min(AGAIN_MOST_S, AGAIN_FIRST_S * 2.0 ** (kept.failures - 1))
            if kept.failures == 1 or kept.reason != result:
                log.error("no credential for %s: %s", credential.source, result)
            kept.reason = result
            credential.failure = UpstreamAuthError("the gateway can't get its credential for this upstream now")
        waiting, credential.waiting = credential.waiting, []
        for call in waiting:
            call(None)


def _fetch(source: CredentialSource, way: Way) -> Fetched | str:
    """In a thread: the credential, or in words why there is none, without a secret in them."""
    try:
        if isinstance(source, EntraSource):
            found = entra.fetch(source, way)
        elif isinstance(source, ManagedSource):
            found = entra.fetch_managed(source, way)
        elif isinstance(source, GoogleSource):
            found = google.fetch(source, way)
        else:
            found = aws.fetch(source)
        if found.valid_s <= 0:
            return "it had expired when it came"
        return found
    except FetchError as error:
        return clean_text(str(error), _secrets(source))
    except ImportError as error:
        return f"{error.name} is not installed"
    except (OSError, http.client.HTTPException) as error:
        return f"its server can't be reached: {type(error).__name__} {clean_text(str(error))}"
    except Exception as error:  # noqa: BLE001 - the outermost edge of its thread; the libraries raise what they like
        return f"{type(error).__name__}: {clean_text(str(error), _secrets(source))}"


def _secrets(source: CredentialSource) -> list[str]:
    if isinstance(source, EntraSource):
        found = [secret for secret in (source.client_secret, source.proof) if secret]
    elif isinstance(source, ManagedSource):
        found = [source.header] if source.header is not None else []
    elif isinstance(source, AwsSource):
        found = [secret for secret in (source.secret_key, source.session_token, source.web_identity_token) if secret]
    else:
        found = [source.info] if source.info is not None else []
    return [secret.reveal() for secret in found]
