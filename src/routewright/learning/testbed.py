"""A set made ready to try routers on, and the baselines that no result is shown without."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from routewright.learning.costs import CostModel
from routewright.learning.datasets import Dataset, DatasetError
from routewright.learning.metrics import Field, Metrics, Policies, Split
from routewright.learning.trial import Result, Trial, curve, significant
from routewright.routing.artefact import Artefact, read_artefact
from routewright.routing.baselines import OracleRouter, TaskMeanRouter
from routewright.routing.decide import RoutePlan
from routewright.routing.features import make_features
from routewright.routing.features.contract import NO_SUPPLIES, Features, Supplies
from routewright.routing.registry import find_router
from routewright.routing.router import Float32, mean_known
from routewright.types import Price, Prompt, RouteCandidate

Float64 = NDArray[np.float64]
_TIMED_PROMPTS: Final = 300


@dataclass(frozen=True, slots=True)
class Vectors:
    """Features fitted on train, the vectors of all splits, and what calls are expected to cost by them."""

    features: Features
    train: Float32
    valid: Float32
    test: Float32
    costs: Mapping[str, Float64]


class TestBed:
    """A set made ready to try routers on: splits without gaps, expected costs, and what results are held against.

    Raises DatasetError when a split is empty.
    """

    __test__ = False  # no test class, whatever its name begins with

    def __init__(self, dataset: Dataset, *, seed: int = 0) -> None:
        self.dataset, self.seed = dataset, seed
        self.train = dataset.rows("train")
        if not all(len(dataset.rows(split)) for split in ("train", "valid", "test")):
            raise DatasetError(f'set "{dataset.name}" needs rows in train, valid and test')
        self.mean = mean_known(dataset.quality[self.train])
        usual_cost = mean_known(dataset.cost_usd[self.train])
        self.valid = Split(dataset, "valid", self.mean, usual_cost)
        self.test = Split(dataset, "test", self.mean, usual_cost)
        self.best = int(np.argmax(self.mean))
        self.cheapest = int(np.lexsort((-self.mean, usual_cost))[0])
        self.costs = self._costs()
        self.field = Field(self.test, self.best, seed=seed)
        self.tasks = [dataset.tasks[row] for row in self.test.rows]

    def _costs(self, *vectors: Float32) -> dict[str, Float64]:
        """Expected USD on valid and test, by prompts' lengths, and by their vectors (train, valid, test) if given."""
        tokens, cost = self.dataset.prompt_tokens, self.dataset.cost_usd[self.train]
        model = CostModel().fit(tokens[self.train], cost, *vectors[:1])
        return {
            "valid": model.predict(tokens[self.valid.rows], *vectors[1:2]),
            "test": model.predict(tokens[self.test.rows], *vectors[2:3]),
        }

    def _trial(self, expected: Mapping[str, Float64], costs: Mapping[str, Float64] | None = None, **more: Any) -> Trial:
        return Trial(expected, self.costs if costs is None else costs, self.valid, self.field, **more)

    def _result(
        self, name: str, kind: str, trial: Trial, *, calibrated: bool = True, times: Metrics | None = None
    ) -> Result:
        return Result(
            name=name,
            kind=kind,
            metrics=trial.measure(calibrated=calibrated) | (times or {}),
            details=trial.details(self.tasks, calibrated=calibrated),
            trial=trial,
        )

    # --- what no result is shown without --------------------------------------------------------------------------

    def baselines(self) -> list[Result]:
        """Best and cheapest single model, any model by chance, the cheapest mix, and each task's mean scores."""

        def flat(values: Float32) -> dict[str, Float64]:
            return {
                name: np.broadcast_to(values, split.score.shape).astype(np.float64)
                for name, split in (("valid", self.valid), ("test", self.test))
            }

        only = np.zeros_like(self.mean)
        only[self.cheapest] = 1.0
        out = [
            self._result("best", "baseline", self._trial(flat(self.mean))),
            self._result("cheapest", "baseline", self._trial(flat(only)), calibrated=False),
            self._random(),
            self._zero(),
        ]
        names = sorted({self.dataset.tasks[row] for row in self.train})
        if len(names) > 1:
            number = {task: float(i) for i, task in enumerate(names)}
            tasks = np.array([[number.get(task, 1e6)] for task in self.dataset.tasks], dtype=np.float32)
            data = self.dataset
            router = TaskMeanRouter().fit(tasks[self.train], data.quality[self.train], data.cost_usd[self.train])
            expected = {
                name: router.predict_quality(tasks[split.rows]).astype(np.float64)
                for name, split in (("valid", self.valid), ("test", self.test))
            }
            out.append(self._result("task-mean", "baseline", self._trial(expected)))
        return out

    def oracle(self) -> Result:
        """The recorded scores themselves."""
        expected = {
            name: OracleRouter().predict_quality(split.recorded).astype(np.float64)
            for name, split in (("valid", self.valid), ("test", self.test))
        }
        return self._result("oracle", "bound", self._trial(expected), calibrated=False)

    def _random(self) -> Result:
        """Each model with equal chance, in expectation."""
        policies = Policies(
            score=self.test.score.mean(axis=1, keepdims=True), cost=self.test.cost.mean(axis=1, keepdims=True), at={}
        )
        known = {
            name: value
            for name, value in self.field.measure(policies).items()
            if name.startswith(("quality", "gain", "cost_share"))
        }
        return Result(name="random", kind="baseline", metrics=known, details={"curve": curve(policies)})

    def _zero(self) -> Result:
        """The cheapest mix of single models, read on test."""
        dearest = int(self.test.score.mean(axis=0).argmax())
        policies = Policies(score=self.test.score, cost=self.test.cost, dearest=dearest, at={})
        metrics = self.field.measure(policies)
        return Result(name="zero", kind="baseline", metrics=metrics, details={"curve": curve(policies)})

    def singles(self) -> list[dict[str, Any]]:
        """Each model alone, on test."""
        cost, score = self.test.cost.mean(axis=0), self.test.score.mean(axis=0)
        rounds = self.field.resamples.means(self.test.score)
        out = []
        for i, model in enumerate(self.dataset.models):
            low, high = np.quantile(rounds[:, i], (0.025, 0.975))
            out.append(
                {
                    "model": model,
                    "quality": round(float(score[i]), 5),
                    "quality_low": round(float(low), 5),
                    "quality_high": round(float(high), 5),
                    "cost_usd": significant(cost[i]),
                    "cost_share": round(float(cost[i] / cost[self.best]), 5) if cost[self.best] else None,
                }
            )
        return out

    # --- routers --------------------------------------------------------------------------------------------------

    def vectors(self, features_name: str, supplies: Supplies = NO_SUPPLIES) -> Vectors:
        """Fit features on train, transform all. Raises ValueError for unknown features, or a library they lack."""
        features = make_features(features_name, seed=self.seed, supplies=supplies)
        data = self.dataset
        train = features.fit_transform(data.prompts_of(self.train), data.quality[self.train])
        valid, test = features.transform(self.valid.prompts), features.transform(self.test.prompts)
        features.open(replace(supplies, encodings=None))  # what is timed later is making vectors, not finding them
        return Vectors(features, train, valid, test, self._costs(train, valid, test))

    def try_router(self, name: str, vectors: Vectors, arguments: Mapping[str, Any] | None = None) -> Result:
        """Fit a router by its name, and measure it. Raises KeyError for an unknown one."""
        router_class = find_router(name)
        known = dict(arguments or {})
        if "seed" in router_class.arguments:
            known.setdefault("seed", self.seed)
        router = router_class(**known)
        tasks = [self.dataset.tasks[row] for row in self.train]
        router.fit_tasks(vectors.train, self.dataset.quality[self.train], self.dataset.cost_usd[self.train], tasks)
        expected = {
            "valid": router.predict_quality(vectors.valid).astype(np.float64),
            "test": router.predict_quality(vectors.test).astype(np.float64),
        }
        features = vectors.features

        def decide(prompt: Prompt) -> int:
            return int(np.argmax(router.rate_one(features.vector(prompt)) - 0.0 * router.cost_usd_))

        return self._result(router.name, "router", self._trial(expected, vectors.costs), times=self._times(decide))

    def try_file(self, path: str | os.PathLike[str], supplies: Supplies = NO_SUPPLIES) -> Result:
        """Measure a router file as a gateway would serve this set's models with it. Raises ArtefactRefused."""
        return self.try_artefact(read_artefact(path, force=True, supplies=supplies))

    def try_artefact(self, artefact: Artefact) -> Result:
        """`try_file`, of a file that was read."""
        plan = RoutePlan(artefact, candidates_of(self.dataset), quality=1.0)

        def rated(split: Split) -> Float64:
            return np.array([plan.rate(prompt, 0, None).scores for prompt in split.prompts], dtype=np.float64)

        learned = self.dataset.prompts_of(self.train)
        vectors = [artefact.features.transform(prompts) for prompts in (learned, self.valid.prompts, self.test.prompts)]
        expected = {"valid": rated(self.valid), "test": rated(self.test)}
        trial = self._trial(expected, self._costs(*vectors), known=artefact.calibration)
        fresh = RoutePlan(artefact, candidates_of(self.dataset), quality=1.0)
        times = self._times(lambda prompt: fresh.rate(prompt, 0, None).order[0])
        return self._result(Path(artefact.path).name, "router", trial, times=times)

    def _times(self, decide: Callable[[Prompt], int]) -> Metrics:
        """Microseconds from prompt to choice."""
        times = []
        for prompt in self.test.prompts[:_TIMED_PROMPTS]:
            start = perf_counter_ns()
            decide(prompt)
            times.append((perf_counter_ns() - start) / 1e3)
        return {
            "decision_us_p50": float(np.quantile(times, 0.5)),
            "decision_us_p99": float(np.quantile(times, 0.99)),
        }


def is_file(name: str) -> bool:
    """Does a router's name mean a file?"""
    return os.sep in name or name.endswith(".safetensors")


def candidates_of(dataset: Dataset) -> list[RouteCandidate]:
    """A set's models as a gateway would have them as candidates."""
    out = []
    for model, (usd_in, usd_out) in zip(dataset.models, dataset.prices, strict=True):
        price = Price()
        if usd_in is not None:
            output = None if usd_out is None else usd_out / 1e6
            price = Price(input_usd_per_token=usd_in / 1e6, output_usd_per_token=output, source="set")
        out.append(RouteCandidate(model=model, upstream_model=model, provider="", price=price))
    return out
