"""A fitted router in one file: safetensors arrays, and a JSON header in their metadata.

The file is a safetensors file that any reader opens. Its metadata has two entries: `routewright`, the header as JSON
text, and `sha256`, the SHA-256 of the whole file with these 64 digits as zeros. Nothing in it is code; reading it
executes nothing it holds. What is parsed is what was hashed: the bytes are read once.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from routewright.errors import ArtefactRefused
from routewright.routing.arguments import check_arguments
from routewright.routing.calibrate import Isotonic
from routewright.routing.features import load_features
from routewright.routing.features.contract import NO_SUPPLIES, Features, Supplies
from routewright.routing.features.joined import under
from routewright.routing.lengths import AnswerLengths
from routewright.routing.registry import ROUTERS
from routewright.routing.router import Array, Router
from routewright.types import Prompt

FORMAT_VERSION: Final = 1
MAX_BYTES: Final = 256 * 1024 * 1024
MAX_HEADER_BYTES: Final = 8 * 1024 * 1024
_ZEROS: Final = "0" * 64
_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}
_DTYPE_NAMES: Final = {dtype: name for name, dtype in _DTYPES.items()}
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
    return _pack(header, arrays)


def _pack(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """A safetensors file, its arrays widest type first so that each lies on its own boundary."""
    table: dict[str, Any] = {
        "__metadata__": {
            "routewright": json.dumps(header, sort_keys=True, ensure_ascii=True, allow_nan=False),
            "sha256": _ZEROS,
        }
    }
    parts: list[bytes] = []
    at = 0
    for name, array in sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        dtype = array.dtype.newbyteorder("<")
        if dtype not in _DTYPE_NAMES:
            raise ValueError(f'array "{name}" has a type that the file does not hold: {array.dtype}')
        part = np.ascontiguousarray(array, dtype=dtype).tobytes()
        table[name] = {
            "dtype": _DTYPE_NAMES[dtype],
            "shape": list(array.shape),
            "data_offsets": [at, at + len(part)],
        }
        parts.append(part)
        at += len(part)
    head = json.dumps(table, ensure_ascii=True).encode()
    head += b" " * (-len(head) % 8)
    content = b"".join((len(head).to_bytes(8, "little"), head, *parts))
    digest = hashlib.sha256(content).hexdigest()
    return content.replace(f'"sha256": "{_ZEROS}"'.encode(), f'"sha256": "{digest}"'.encode(), 1)


def write_artefact(artefact: Artefact, path: Path) -> str:
    """Write the file whole or not at all (a new file renamed over the old); returns its SHA-256. Raises OSError."""
    content = artefact_bytes(artefact)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return _stored_digest(content)


# --- reading ------------------------------------------------------------------------------------------------------


def read_artefact(
    path: str | os.PathLike[str],
    *,
    max_bytes: int = MAX_BYTES,
    force: bool = False,
    supplies: Supplies = NO_SUPPLIES,
) -> Artefact:
    """Read, check and try a router file. Raises ArtefactRefused naming the fault, and nothing else.

    force: also take a router whose gate says that it is worse than the best single model. supplies: what the features
    may need beside the file, such as the endpoint that `remote` asks; the file has no say in it.
    """
    name = os.path.basename(os.fspath(path)) or os.fspath(path)
    content = _read(path, name, max_bytes)
    try:
        return _parse(content, os.fspath(path), force=force, supplies=supplies)
    except ArtefactRefused as error:
        raise ArtefactRefused(f'router file "{name}" refused: {error.message}') from None
    except (ValueError, TypeError, KeyError, ArithmeticError, AttributeError, IndexError, RecursionError) as error:
        raise ArtefactRefused(f'router file "{name}" refused: {error}') from None


def _read(path: str | os.PathLike[str], name: str, max_bytes: int) -> bytes:
    """The file's bytes, its size checked on the open file before a byte is read."""
    refused = f'router file "{name}" refused: '
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        reason = {
            errno.ENOENT: "there is no such file",
            errno.ELOOP: "its symbolic links form a loop",
            errno.EACCES: "it may not be read",
            errno.EISDIR: "it is a directory",
        }.get(error.errno or 0, error.strerror or "it can't be opened")
        raise ArtefactRefused(refused + reason) from None
    except ValueError:
        raise ArtefactRefused(refused + "its name holds a zero byte") from None
    try:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            raise ArtefactRefused(refused + "it is a directory")
        if not stat.S_ISREG(status.st_mode):
            raise ArtefactRefused(refused + "it is no regular file")
        if status.st_size > max_bytes:
            raise ArtefactRefused(f"{refused}it has {status.st_size} bytes, the limit is {max_bytes}")
        if status.st_size == 0:
            raise ArtefactRefused(refused + "it is empty")
        with os.fdopen(handle, "rb", closefd=False) as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise ArtefactRefused(refused + (error.strerror or "it can't be read")) from None
    finally:
        os.close(handle)
    if len(content) > max_bytes:
        raise ArtefactRefused(f"{refused}it grew beyond the limit of {max_bytes} bytes while it was read")
    return content


def _stored_digest(content: bytes) -> str:
    head = content[8 : 8 + int.from_bytes(content[:8], "little")]
    return str(json.loads(head)["__metadata__"]["sha256"])


def _unpack(content: bytes) -> tuple[dict[str, Any], dict[str, Array], str]:
    """Header, arrays and digest of a file's bytes, each array checked for place and size."""
    if content[:2] == b"PK" or (content[:1] == b"\x80" and content[1:2] in b"\x02\x03\x04\x05"):
        raise ArtefactRefused("it is a pickle or PyTorch file, which is never opened; expected a routewright artefact")
    if len(content) < 10:
        raise ArtefactRefused(f"it is truncated: {len(content)} bytes")
    head_size = int.from_bytes(content[:8], "little")
    if head_size > MAX_HEADER_BYTES or head_size < 2:
        raise ArtefactRefused(f"header length {head_size} is not within 2..{MAX_HEADER_BYTES}: no artefact, or damaged")
    start = 8 + head_size
    if len(content) < start:
        raise ArtefactRefused(f"it is truncated: the header alone has {head_size} bytes, the file {len(content)}")
    head = content[8:start]
    try:
        table = json.loads(head)
    except (ValueError, RecursionError):
        raise ArtefactRefused("the header is no JSON: no artefact, or damaged") from None
    metadata = table.pop("__metadata__", None) if isinstance(table, dict) else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("routewright"), str):
        raise ArtefactRefused('the metadata has no "routewright" header: a safetensors file of something else')
    digest = metadata.get("sha256")
    if not isinstance(digest, str) or len(digest) != 64 or head.count(digest.encode("utf-8", "replace")) != 1:
        raise ArtefactRefused('field "sha256" is missing or malformed')

    header = json.loads(metadata["routewright"])
    if not isinstance(header, dict):
        raise ArtefactRefused("the header is no JSON object")
    version = header.get("format_version")
    if type(version) is not int or version < 1:
        raise ArtefactRefused(f'field "format_version" must be a whole number, is {version!r}')
    if version > FORMAT_VERSION:
        raise ArtefactRefused(
            f'field "format_version" is {version}, this routewright reads up to {FORMAT_VERSION}: a newer one made it'
        )

    arrays: dict[str, Array] = {}
    at = 0
    entries = sorted(table.items(), key=lambda item: item[1]["data_offsets"])
    for name, entry in entries:
        dtype = _DTYPES.get(entry["dtype"])
        if dtype is None:
            raise ArtefactRefused(f'array "{name}" has the unknown type {entry["dtype"]!r}')
        shape, (low, high) = entry["shape"], entry["data_offsets"]
        if any(type(size) is not int or size < 0 for size in (*shape, low, high)) or len(shape) > 4:
            raise ArtefactRefused(f'array "{name}" has an impossible shape or place')
        if low != at or high - low != math.prod(shape) * dtype.itemsize:
            raise ArtefactRefused(f'array "{name}" has a size that disagrees with its shape, or lies over another')
        at = high
        if start + at > len(content):
            raise ArtefactRefused(f'it is truncated: array "{name}" ends at {start + at}, the file at {len(content)}')
        # a copy: numpy's own alignment, so that sums round as they did when the router was fitted
        array = (
            np.frombuffer(content, dtype, math.prod(shape), start + low).reshape(shape).astype(dtype.newbyteorder("="))
        )
        array.flags.writeable = False
        arrays[name] = array
    if start + at != len(content):
        raise ArtefactRefused(f"it has {len(content) - start - at} bytes beyond its last array")

    place = content.index(digest.encode(), 8, start)
    hasher = hashlib.sha256(memoryview(content)[:place])
    hasher.update(_ZEROS.encode())
    hasher.update(memoryview(content)[place + 64 :])
    if hasher.hexdigest() != digest:
        raise ArtefactRefused('field "sha256" does not match the content: the file is damaged or was changed')
    return header, arrays, digest


def _parse(content: bytes, path: str, *, force: bool, supplies: Supplies) -> Artefact:
    header, arrays, digest = _unpack(content)
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
    if "lengths.direction" in arrays:
        lengths = AnswerLengths.from_state(
            under("lengths.", arrays), n_features=features.n_features, n_models=len(labels)
        )
        wordiness = arrays.get("sample.wordiness")
        if wordiness is None or wordiness.dtype != np.float16 or wordiness.shape != (len(scores),):
            raise ArtefactRefused(f'array "sample.wordiness" must be float16 ({len(scores)})')
    calibration = None
    if "calibration.x" in arrays:
        calibration = Isotonic.from_knots(arrays["calibration.x"], arrays["calibration.y"])
    training_ids: tuple[str, ...] = ()
    if "training.ids" in arrays:
        training_ids = tuple(arrays["training.ids"].tobytes().decode().split("\n"))

    with np.errstate(all="ignore"):  # a bad router's overflows are told below, not as warnings
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
        sha256=digest,
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
