"""The routers that serve: which file each route uses, how it is swapped, and what it decides.

A file is read, checked and joined to every route that uses it before one pointer moves; a refused file moves nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from routewright.errors import ArtefactRefused, Conflict, InvalidRequest, NotFound
from routewright.routing import shelf
from routewright.routing.artefact import Artefact, read_artefact
from routewright.routing.decide import NothingWithinCap, RoutePlan
from routewright.routing.fallback_caps import keep_within, pace
from routewright.routing.features.contract import NoVector, Supplies
from routewright.routing.feedback import Feedback
from routewright.routing.online import OnlinePlan, OnlineRating
from routewright.routing.router import Float32
from routewright.routing.vectors import Vectors
from routewright.settings import RouterSettings, RouteSettings
from routewright.signatures import base64_of
from routewright.types import Call, Candidates, Caps, Decision, Group, OnlineDecision, Prompt, Rating, RouteCandidate
from routewright.wire.chat import estimated_tokens, prompt_of

PACKAGED = Path(__file__).with_name("default_router.safetensors")
log = logging.getLogger("routewright")


class LiveRouters:
    """All routes' routers. Reads are one dictionary look-up; `reload` replaces what they see at once."""

    def __init__(
        self,
        settings: RouterSettings,
        routes: Mapping[str, RouteSettings],
        candidates_of: Callable[[str], Sequence[RouteCandidate]],
        routers_folder: Path,
        feedback: Feedback | None = None,
        previous: LiveRouters | None = None,
    ) -> None:
        """`feedback`: what routers that learn while serving learn from; None: they serve as their files have them.

        `previous`: whose files need not be read again.
        """
        self._settings = settings
        self._routes = routes
        self._candidates = {name: list(candidates_of(name)) for name in routes}
        self._routers_folder = routers_folder
        self._feedback = feedback
        self._plans: dict[str, RoutePlan] = {}
        self._artefacts: dict[Path, Artefact] = dict(previous._artefacts) if previous is not None else {}
        self._seen: dict[Path, tuple[int, int, int]] = dict(previous._seen) if previous is not None else {}
        self._supplies = Supplies(embeddings=settings.embeddings)
        self._vectors = Vectors()
        self._reloading = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.last_reload = ""
        self.last_error: str | None = None
        self.warnings: list[str] = []
        self._start()

    # --- loading --------------------------------------------------------------------------------------------------

    def _path_of(self, route: RouteSettings) -> Path:
        named = route.router
        if named is None:
            return self._settings.artefact_path or PACKAGED
        return router_path(named, self._routers_folder)

    def _start(self) -> None:
        """Load what can be loaded; a router that can't is replaced by the packaged one, and says so."""
        for name, route in self._routes.items():
            path = self._path_of(route)
            try:
                artefact = self._read(path)
            except ArtefactRefused as error:
                fallback = self._read(PACKAGED)
                asked = route.router or str(path)
                if route.router is None or fallback.router_name != route.router.removeprefix("llmrouter-"):
                    self._warn(f"route {name}: router {asked} was not loaded ({error.message}); the packaged router "
                               "serves in its place")  # fmt: skip
                    if path != PACKAGED and os.sep in asked:
                        self.last_error = error.message
                artefact = fallback
            self._plans[name] = self._plan(name, artefact)
        self.last_reload = _now()

    def _warn(self, text: str) -> None:
        self.warnings.append(text)
        log.warning(text)

    def _read(self, path: Path) -> Artefact:
        if path in self._artefacts:
            return self._artefacts[path]
        self._seen[path] = _stamp(path)
        artefact = self._artefacts[path] = self._checked(path)
        return artefact

    def _checked(self, path: Path) -> Artefact:
        """The packaged router came with the code, and is trusted as the code is."""
        keys = self._settings.public_keys or None
        artefact = read_artefact(path, supplies=self._supplies, public_keys=None if path == PACKAGED else keys)
        if path != PACKAGED:
            shelf.keep(self._routers_folder, path, artefact.sha256)
        return artefact

    def _plan(self, name: str, artefact: Artefact) -> RoutePlan:
        route = self._routes[name]
        options: dict[str, Any] = {
            "quality": route.quality,
            "default_model": route.default_model,
            "caps": Caps(route.max_cost_usd, route.max_latency_s),
            "latency_weight": route.latency_weight,
            "strategy_name": self._settings.strategy_name,
        }
        if not artefact.router.learns_online:
            return RoutePlan(artefact, self._candidates[name], **options)
        learned = artefact.router if self._feedback is None else self._feedback.learned(artefact)
        keep = None if self._feedback is None else self._feedback.choices.keep
        return OnlinePlan(artefact, self._candidates[name], learned=learned, keep=keep, route=name, **options)

    async def reload(self) -> None:
        """Read every file again and swap. Raises ArtefactRefused with the fault; then nothing has changed.

        Files are read and tried in a thread: an encoder takes half a second to load. One reload at a time.
        """
        async with self._reloading:
            paths = {name: self._path_of(route) for name, route in self._routes.items()}
            for path in {*paths.values(), *self._seen}:
                self._seen[path] = _stamp(path)
            for name, path in paths.items():
                is_named = self._routes[name].router is not None
                if is_named and not path.exists() and path.parent == self._routers_folder:
                    paths[name] = PACKAGED  # a router's name without a file of its own, as at the start
            try:
                fresh = await asyncio.get_running_loop().run_in_executor(None, self._read_all, set(paths.values()))
                plans = {name: self._plan(name, fresh[path]) for name, path in paths.items()}
            except ArtefactRefused as error:
                self.last_error = error.message
                log.warning("router not reloaded: %s", error.message)
                raise
            self._artefacts = fresh
            self._plans = plans
            if self._feedback is not None:
                self._feedback.forget_others([plan.artefact_id for plan in plans.values()])
            self.last_reload = _now()
            self.last_error = None
            self.warnings = []

    def _read_all(self, paths: set[Path]) -> dict[Path, Artefact]:
        return {path: self._checked(path) for path in sorted(paths)}

    def reload_soon(self) -> None:
        """`reload`, for those who need not know how it ended: that is logged, and kept in `last_error`."""
        task = asyncio.get_running_loop().create_task(self._reload_quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload_quietly(self) -> None:
        with suppress(ArtefactRefused):
            await self.reload()
            log.info("router reloaded")

    def poll(self) -> None:
        """Reload if a file has changed since it was last looked at. A bad file is looked at once, and reported."""
        if self._settings.hot_reload and any(_stamp(path) != stamp for path, stamp in self._seen.items()):
            self.reload_soon()

    def close(self) -> None:
        """At the end of the process."""
        self._vectors.close()

    # --- deciding -------------------------------------------------------------------------------------------------

    def decide(self, call: Call, candidates: Candidates) -> Decision | None:
        """The order in which to try. Never fails: without a rating the route's default model comes first.

        None where the route's features are too slow for the event loop and the prompt is not remembered:
        `decide_slowly` then.
        """
        route = candidates.route
        if route is None:
            return Decision(candidates.groups, candidates)
        plan = self._plans[route]
        started_s = time.perf_counter()
        prompt = prompt_of(call)
        if not plan.is_quick and not plan.remembers(prompt):
            return None
        return self._decide(plan, prompt, None, call, candidates, started_s)

    async def decide_slowly(self, call: Call, candidates: Candidates) -> Decision:
        """`decide` with a vector that a thread makes; without one in time the route's default model comes first."""
        plan = self._plans[candidates.route or ""]
        started_s = time.perf_counter()
        prompt = prompt_of(call)
        made = await self._vectors.ask(plan.artefact.features, prompt, lambda x: plan.look_at(prompt, x))
        decision = self._decide(plan, prompt, made, call, candidates, started_s)
        rating = decision.rating
        if isinstance(made, str) and rating is not None and made not in rating.reason:
            rating.reason = f"usual scores: {made}"  # there is no default model among the candidates
        return decision

    def _decide(
        self,
        plan: RoutePlan,
        prompt: Prompt,
        made: Float32 | str | None,
        call: Call,
        candidates: Candidates,
        started_s: float,
    ) -> Decision:
        route = candidates.route or ""
        groups = candidates.groups
        quality = call.quality if call.quality is not None else candidates.quality
        if candidates.dial is not None:
            least, most = candidates.dial
            quality = min(max(plan.quality if quality is None else quality, least), most)
        if plan.learns:
            prompt.key_hash = candidates.key_hash
        try:
            rating = plan.rate(
                prompt,
                call.prompt_tokens_estimate,
                call.max_tokens,
                quality=quality,
                allowed=candidates.allowed,
                caps=call.caps,
                paces=_paces(groups) if plan.needs_paces or call.caps is not None else None,
                look=None if made is None else plan.look_at(prompt, made),
            )
        except NothingWithinCap as error:
            raise InvalidRequest(str(error), param=f"routing.{error.cap}") from None
        except Exception:
            log.exception("route %s could not rate a request; its default model is tried first", route)
            rating = self._unrated(route, candidates)
        caps = plan.caps if call.caps is None else call.caps.within(plan.caps)
        if caps is not None:
            keep_within(candidates, caps, call, rating, plan.usual_tokens)
        ordered = [groups[index] for index in rating.order]
        if type(rating) is Rating:
            decision = Decision(ordered, candidates)
        else:
            decision = _online_decision(plan, rating, ordered, candidates)
        decision.route = route
        decision.rating = rating
        decision.artefact = plan.artefact_id
        decision.microseconds = (time.perf_counter() - started_s) * 1e6
        decision.fields = b"%b%.4f\r\n" % (plan.field, rating.confidence)
        return decision

    def _unrated(self, route: str, candidates: Candidates) -> Rating:
        order = candidates.allowed or list(range(len(candidates.groups)))
        default = self._routes[route].default_model
        order = sorted(order, key=lambda index: candidates.groups[index].name != default)
        count = len(candidates.groups)
        return Rating(order, [0.0] * count, [0.0] * count, 0.0, 0.0, "router_failed")

    # --- earlier files --------------------------------------------------------------------------------------------

    def kept(self, route: str) -> list[shelf.Kept]:
        """The files that have served this route, the last first; none where it has the packaged router."""
        path = self._path_of(self._routes[route])
        return [] if path == PACKAGED else shelf.kept_of(self._routers_folder, path)

    async def roll_back(self, route: str, artefact: str) -> None:
        """Put a file that has served back in its place, and load it. Raises NotFound, Conflict, ArtefactRefused."""
        found = next((each for each in self.kept(route) if each.artefact == artefact), None)
        if found is None:
            raise NotFound("no such router file has been kept")
        try:
            await asyncio.to_thread(shelf.put_back, found, self._path_of(self._routes[route]))
        except OSError as error:
            raise Conflict(f"the router file can't be put back: {error.strerror}") from None
        await self.reload()

    def plan(self, route: str) -> RoutePlan:
        """What serves a route. Raises KeyError."""
        return self._plans[route]

    # --- telling --------------------------------------------------------------------------------------------------

    def explain(
        self,
        route: str,
        prompt: Prompt,
        quality: float | None,
        *,
        caps: Caps | None = None,
        groups: Sequence[Group] | None = None,
        made: Float32 | str | None = None,
        features_s: float = 0.0,
    ) -> dict[str, Any]:
        """Everything that `rate` weighed, for a person. Shapes are those of `RoutePlan.explain`.

        groups: the route's, whose answers' pace is known. Raises InvalidRequest where nothing is within the caps.
        """
        plan = self._plans[route]
        prompt_tokens = estimated_tokens(len(prompt.text), n_messages=1)
        if made is None and not plan.is_quick:
            started_s = time.perf_counter()
            try:
                made = plan.artefact.features.vector(prompt)
            except NoVector as error:
                made = str(error)
            features_s = time.perf_counter() - started_s
        try:
            return plan.explain(
                prompt, prompt_tokens, None, quality=quality, caps=caps,
                paces=None if groups is None else _paces(groups), made=made, features_s=features_s,
            )  # fmt: skip
        except NothingWithinCap as error:
            raise InvalidRequest(str(error), param=error.cap) from None

    async def explain_slowly(
        self, route: str, prompt: Prompt, quality: float | None, *, caps: Caps | None, groups: Sequence[Group] | None
    ) -> dict[str, Any]:
        """`explain` on the event loop: the vector is made in a thread where the features are slow."""
        plan = self._plans[route]
        if plan.is_quick:
            return self.explain(route, prompt, quality, caps=caps, groups=groups)
        started_s = time.perf_counter()
        made = await self._vectors.ask(plan.artefact.features, prompt, lambda x: plan.look_at(prompt, x))
        features_s = time.perf_counter() - started_s
        return self.explain(route, prompt, quality, caps=caps, groups=groups, made=made, features_s=features_s)

    def _learned(self, plan: RoutePlan) -> dict[str, Any]:
        """How far a router that learns has come in this worker; nothing for all others."""
        if not plan.learns or self._feedback is None:
            return {}
        return {"ratings_learned": self._feedback.ratings_of(plan.artefact_id)}

    def artefacts(self) -> dict[str, str]:
        """Route -> short id of the router file that serves it."""
        return {name: plan.artefact_id for name, plan in self._plans.items()}

    def info(self) -> dict[str, Any]:
        """`/router/info`: API_REFERENCE's four fields, and what each route serves with."""
        first = next(iter(self._plans.values()), None)
        paths = {name: self._path_of(route) for name, route in self._routes.items()}
        main = paths.get("auto") or next(iter(paths.values()), PACKAGED)
        return {
            "routing_strategy": self._settings.strategy_name if first is None else first.strategy_name,
            "model_path": str(main),
            "hot_reload": self._settings.hot_reload,
            "last_reload": self.last_reload,
            "last_error": self.last_error,
            "warnings": self.warnings,
            "artefact": None if first is None else first.artefact_id,
            "routes": {
                name: {
                    "artefact": plan.artefact_id,
                    "signed_by": _base64(plan.artefact.signed_by),
                    "quality": self._routes[name].quality,
                    "default_model": self._routes[name].default_model,
                    "candidates": plan.placements,
                    "warnings": plan.warnings,
                    **self._learned(plan),
                }
                for name, plan in self._plans.items()
            },
        }


def router_path(named: str, folder: Path) -> Path:
    """The file that a route's `router` means: a path, or a router's name in the folder of routers."""
    if os.sep in named or named.endswith(".safetensors"):
        return Path(named)
    return folder / f"{named.removeprefix('llmrouter-')}.safetensors"


def _online_decision(plan: RoutePlan, rating: Rating, ordered: list[Group], candidates: Candidates) -> Decision:
    assert isinstance(plan, OnlinePlan)
    assert isinstance(rating, OnlineRating)
    return OnlineDecision(ordered, candidates, propensity=rating.propensity, remember=plan.remember)


def _paces(groups: Sequence[Group]) -> list[float]:
    return [pace(group) for group in groups]


def _base64(public_key: str) -> str | None:
    """A key's hex digits as it stands in a configuration."""
    return base64_of(bytes.fromhex(public_key)) if public_key else None


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes when a file is replaced or written: inode, size and time; zeros where there is none."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
