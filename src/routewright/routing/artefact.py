"""A fitted router in one file: safetensors arrays, and a JSON header in their metadata.

`container.py` has the file's form. Nothing in it is code; reading it executes nothing it holds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from routewright.errors import ArtefactRefused
from routewright.routing.arguments import check_arguments
from routewright.routing.calibrate import Isotonic
from routewright.routing.container import (
    FORMAT_VERSION,
    MAX_BYTES,
    Contents,
    check_signature,
    pack,
    read_whole,
    unpack,
    write_whole,
)
from routewright.routing.features import load_features
from routewright.routing.features.contract import NO_SUPPLIES, Features, Supplies
from routewright.routing.features.joined import under
from routewright.routing.lengths import AnswerLengths
from routewright.routing.registry import ROUTERS
from routewright.routing.router import Array, Router, check_array
from routewright.types import Prompt

_MAY_BE_NAN: Final = frozenset(
    {"router.residual", "router.near_residual", "router.base.residual", "router.base.near_residual"}
)
"""Where NaN means "not recorded"."""

CANARIES: Final = (
    Prompt(text="Hello!"),
    Prompt(text="Prove that the square root of 2 is irrational.", system="Be brief.", wants_json=True),
    Prompt(
        text="```python\ndef f(x):\n    return x ** 2\n```\n" + "Why is f slow? Ответь по-русски. " * 40, has_tools=True
    ),
)
"""Prompts of our own that every router must rate before it may serve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A model (or a kind of model) that the router learned to rate."""

    name: str
    quality: float
    """Mean score, on the artefact's `scale`."""
    output_tokens: float
    """Usual length of its answer."""
    input_usd_per_token: float | None = None
    output_usd_per_token: float | None = None
    role: str = "model"
    """`model`; or `rung`, a pooled level that unknown models are placed between; or `code`, `math`: a specialist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """A router with its features, labels, and how it was made. Never changed after it was built."""

    router: Router
    features: Features
    labels: tuple[Label, ...]
    """One for each of the router's models, in its order."""
    sample_scores: NDArray[np.float16]
    """Expected scores of a sample of validation prompts, (n_sample, n_labels); from them a dial is cut."""
    sample_prompt_tokens: NDArray[np.int32]
    """Tokens of the same prompts, (n_sample,)."""
    sample_wordiness: NDArray[np.float16] | None = None
    """How wordy their answers are expected to be, (n_sample,); None without `lengths`."""
    lengths: AnswerLengths | None = None
    """How long answers will be, where lengths were recorded; None: as long as usual."""
    calibration: Isotonic | None = None
    scale: str = "own"
    """What a label's quality is measured on: `mmlu_pro`, as the table of families, or the training set's `own`."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """`name`, `rows`, `sha256` of the training data."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)
    """`passed` True or False, with the figures; empty where nobody measured."""
    created: str = ""
    """ISO 8601, UTC."""
    training_ids: tuple[str, ...] = ()
    """Names of the training rows, where a router can point to them."""
    sha256: str = ""
    """Of the file; empty before it is written."""
    path: str = ""
    signed_by: str = ""
    """The public key whose signature was checked, hex; empty where none was asked for."""

    @property
    def router_name(self) -> str:
        """`knn`, `cluster`, ..."""
        return self.router.name

    def summary(self) -> dict[str, Any]:
        """For `/router/info`: what it is, without its arrays."""
        return {
            "path": self.path,
            "sha256": self.sha256,
            "router": self.router.name,
            "features": self.features.name,
            "n_features": self.features.n_features,
            "labels": [label.name for label in self.labels],
            "created": self.created,
            "training": dict(self.training),
            "metrics": dict(self.metrics),
            "gate": dict(self.gate),
        }


# --- writing ------------------------------------------------------------------------------------------------------


def artefact_bytes(artefact: Artefact) -> bytes:
    """The file's bytes; the same artefact gives the same bytes. Raises ValueError for an array it can't hold."""
    header = {
        "format_version": FORMAT_VERSION,
        "router": {"name": artefact.router.name, "arguments": artefact.router.params()},
        "features": {"name": artefact.features.name, "arguments": artefact.features.params()},
        "labels": [
            {
                "name": label.name,
                "quality": label.quality,
                "output_tokens": label.output_tokens,
                "input_usd_per_token": label.input_usd_per_token,
                "output_usd_per_token": label.output_usd_per_token,
                "role": label.role,
            }
            for label in artefact.labels
        ],
        "scale": artefact.scale,
        "training": dict(artefact.training),
        "metrics": dict(artefact.metrics),
        "gate": dict(artefact.gate),
        "created": artefact.created,
    }
    arrays: dict[str, Array] = {f"router.{name}": a for name, a in artefact.router.state().items()}
    arrays |= {f"features.{name}": a for name, a in artefact.features.state().items()}
    arrays["sample.scores"] = np.asarray(artefact.sample_scores, dtype=np.float16)
    arrays["sample.prompt_tokens"] = np.asarray(artefact.sample_prompt_tokens, dtype=np.int32)
    if artefact.lengths is not None and artefact.sample_wordiness is not None:
        arrays |= {f"lengths.{name}": a for name, a in artefact.lengths.state().items()}
        arrays["sample.wordiness"] = np.asarray(artefact.sample_wordiness, dtype=np.float16)
    if artefact.calibration is not None:
        arrays["calibration.x"] = artefact.calibration.x_
        arrays["calibration.y"] = artefact.calibration.y_
    if artefact.training_ids:
        arrays["training.ids"] = np.frombuffer("\n".join(artefact.training_ids).encode(), dtype=np.uint8)
    return pack(header, arrays)


def write_artefact(artefact: Artefact, path: Path) -> str:
    """Write the file whole or not at all (a new file renamed over the old); returns its SHA-256. Raises OSError."""
    content = artefact_bytes(artefact)
    write_whole(content, Path(path))
    return unpack(content).sha256


# --- reading ------------------------------------------------------------------------------------------------------


def read_artefact(
    path: str | os.PathLike[str],
    *,
    max_bytes: int = MAX_BYTES,
    force: bool = False,
    supplies: Supplies = NO_SUPPLIES,
    public_keys: Sequence[bytes] | None = None,
) -> Artefact:
    """Read, check and try a router file. Raises ArtefactRefused naming the fault, and nothing else.

    force: also take a router whose gate says that it is worse than the best single model. supplies: what the features
    may need beside the file, such as the endpoint that `remote` asks; the file has no say in it. public_keys: take
    only a file that one of these Ed25519 keys signed; None: signatures are not looked at.
    """
    name = os.path.basename(os.fspath(path)) or os.fspath(path)
    try:
        content = read_whole(path, max_bytes)
        contents = unpack(content)
        signed_by = "" if public_keys is None else check_signature(content, contents, public_keys)
        with np.errstate(all="ignore"):  # what a bad router's numbers overflow to is told below, not as warnings
            artefact = _artefact(contents, os.fspath(path), force=force, supplies=supplies)
        return replace(artefact, signed_by=signed_by)
    except ArtefactRefused as error:
        raise ArtefactRefused(f'router file "{name}" refused: {error.message}') from None
    except (ValueError, TypeError, KeyError, ArithmeticError, AttributeError, IndexError, RecursionError) as error:
        raise ArtefactRefused(f'router file "{name}" refused: {error}') from None


def _artefact(contents: Contents, path: str, *, force: bool, supplies: Supplies) -> Artefact:
    header, arrays = contents.header, contents.arrays
    for name, array in arrays.items():
        if array.dtype.kind == "f":
            bad = np.isinf(array).any() if name in _MAY_BE_NAN else not np.isfinite(array).all()
            if bad:
                raise ArtefactRefused(f'array "{name}" holds NaN or infinity')

    spec = _part(header, "features")
    features = load_features(spec["name"], spec.get("arguments", {}), under("features.", arrays), supplies)

    spec = _part(header, "router")
    if spec["name"] not in ROUTERS:
        raise ArtefactRefused(f"unknown router class {spec['name']!r}; known: {', '.join(sorted(ROUTERS))}")
    router_class = ROUTERS[spec["name"]]
    arguments = spec.get("arguments", {})
    check_arguments(router_class, arguments, "router.arguments")
    router = router_class.from_state(arguments, under("router.", arrays), n_features=features.n_features)

    labels = _labels(header.get("labels"))
    if len(labels) != router.n_models:
        raise ArtefactRefused(f'field "labels" has {len(labels)} entries, the router rates {router.n_models} models')
    scores, tokens = arrays.get("sample.scores"), arrays.get("sample.prompt_tokens")
    if scores is None or scores.dtype != np.float16 or scores.ndim != 2 or scores.shape[1] != len(labels):
        raise ArtefactRefused(f'array "sample.scores" must be float16 (any, {len(labels)})')
    if not len(scores) or scores.min() < 0 or scores.max() > 1:
        raise ArtefactRefused('array "sample.scores" must have rows with scores in 0..1')
    if tokens is None or tokens.dtype != np.int32 or tokens.shape != (len(scores),) or tokens.min() < 0:
        raise ArtefactRefused(f'array "sample.prompt_tokens" must be int32 ({len(scores)}), none negative')
    lengths = wordiness = None
    if any(name.startswith("lengths.") for name in arrays):
        lengths = AnswerLengths.from_state(
            under("lengths.", arrays), n_features=features.n_features, n_models=len(labels)
        )
        wordiness = arrays.get("sample.wordiness")
        if wordiness is None or wordiness.dtype != np.float16 or wordiness.shape != (len(scores),):
            raise ArtefactRefused(f'array "sample.wordiness" must be float16 ({len(scores)})')
    calibration = None
    knots = under("calibration.", arrays)
    if knots:
        for name in ("x", "y"):
            if name not in knots:
                raise ArtefactRefused(f'array "calibration.{name}" is missing')
            check_array(f"calibration.{name}", knots[name], np.float32, (None,))
        calibration = Isotonic.from_knots(knots["x"], knots["y"])
    training_ids: tuple[str, ...] = ()
    if "training.ids" in arrays:
        training_ids = tuple(arrays["training.ids"].tobytes().decode().split("\n"))

    for number, canary in enumerate(CANARIES, start=1):
        x = features.rehearsal(canary)
        if not np.isfinite(x).all():
            raise ArtefactRefused(f"canary prompt {number} of {len(CANARIES)} got a vector that is not finite")
        rating = router.rate_one(x)
        is_sound = rating.shape == (len(labels),) and bool(np.isfinite(rating).all())
        if not is_sound or rating.min() < 0 or rating.max() > 1:
            raise ArtefactRefused(f"canary prompt {number} of {len(CANARIES)} got scores that are not within 0..1")

    gate = _part(header, "gate", required=False)
    if gate.get("passed") is False and not force:
        raise ArtefactRefused(
            "its gate was not passed: on validation it is worse than the best single model at equal cost "
            f"(difference {gate.get('difference')}, 95 % up to {gate.get('high')}); load it by force if you must"
        )
    return Artefact(
        router=router,
        features=features,
        labels=labels,
        sample_scores=scores,
        sample_prompt_tokens=tokens,
        sample_wordiness=wordiness,
        lengths=lengths,
        calibration=calibration,
        scale=str(header.get("scale", "own")),
        training=_part(header, "training", required=False),
        metrics=_part(header, "metrics", required=False),
        gate=gate,
        created=str(header.get("created", "")),
        training_ids=training_ids,
        sha256=contents.sha256,
        path=path,
    )


def _part(header: Mapping[str, Any], name: str, *, required: bool = True) -> dict[str, Any]:
    part = header.get(name, None if required else {})
    if not isinstance(part, dict) or (required and not isinstance(part.get("name"), str)):
        raise ArtefactRefused(f'field "{name}" is missing or no object')
    return part


def _labels(entries: Any) -> tuple[Label, ...]:
    if not isinstance(entries, list) or not entries:
        raise ArtefactRefused('field "labels" is missing or empty')
    labels = []
    for number, entry in enumerate(entries):
        where = f"labels[{number}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"]:
            raise ArtefactRefused(f'field "{where}.name" is missing')
        numbers: dict[str, float | None] = {}
        for name, high in (
            ("quality", 1.0),
            ("output_tokens", 1e6),
            ("input_usd_per_token", 1.0),
            ("output_usd_per_token", 1.0),
        ):
            value = entry.get(name)
            if value is None and name.endswith("_usd_per_token"):
                numbers[name] = None
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= high:
                raise ArtefactRefused(f'field "{where}.{name}" must be a number in 0..{high:g}, is {value!r}')
            numbers[name] = float(value)
        role = entry.get("role", "model")
        if role not in ("model", "rung", "code", "math"):
            raise ArtefactRefused(f'field "{where}.role" is unknown: {role!r}')
        labels.append(Label(name=entry["name"], role=role, **numbers))  # type: ignore[arg-type]
    if len({label.name for label in labels}) != len(labels):
        raise ArtefactRefused('field "labels" names a model twice')
    return tuple(labels)
