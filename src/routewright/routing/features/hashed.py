"""Text -> vector by hashed word and character grams, a learned projection, and a few cheap facts about the request.

The sum over a prompt's grams is a sum of small integers held in float32. As long as it stays below 2**24 every partial
sum is exact, so neither the order of summation nor the BLAS at hand changes a bit of it: the same bytes give the same
vector on every machine, alone or in a batch, by the short way or the long one.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from math import frexp, sqrt
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from routewright.routing.linear import fit_ridge
from routewright.routing.router import Array, NotFitted, check_array
from routewright.types import Prompt

Float32 = NDArray[np.float32]
Indices = NDArray[np.int64]

HEAD_CHARACTERS: Final = 3000
TAIL_CHARACTERS: Final = 1000
"""Of a longer text its head and tail are read: instructions stand first, the question often last."""
SYSTEM_CHARACTERS: Final = 2000

_MAX_BYTES: Final = 4 * (HEAD_CHARACTERS + TAIL_CHARACTERS) + 4
_RESERVED: Final = 128
"""Rows at the table's end for the system prompt's hash and the caller's task tag, never shared with grams."""

_COUNT_FROM_GRAMS: Final = 6000
"""Rows to gather grow with the text; from here on, counting per bucket and one product with the table is cheaper."""
_RESERVED_REPEATS: Final = 8
"""A system prompt or a task tag weighs as much as this many grams of the text."""
_MAX_FIT_ROWS: Final = 30_000
"""The decomposition reads at most this many prompts: more changes little and memory is rows times buckets."""
_FOLDS: Final = 5
_TARGET_STD: Final = 0.7
_CHEAP_STD: Final = 0.1
"""Weight of a target's and a cheap fact's standard deviation against the topics' length of 1; tuned on validation."""

_P32: Final = np.uint32(0x01000193)
_P64: Final = 0x9E3779B97F4A7C15
_MASK64: Final = (1 << 64) - 1


def _split_mix(count: int) -> list[int]:
    """Fixed random words, by SplitMix64: the same in every numpy version."""
    state, words = 0x5EED, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & _MASK64
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK64
        words.append(z ^ (z >> 31))
    return words


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    powers, value = [], 1
    for _ in range(count):
        powers.append(value)
        value = (value * base) & _MASK64
    return np.array(powers, dtype=np.uint64)


def _fold() -> bytes:
    """Lower case, every digit `0`, every control character a space: numbers and layout are noise to a router."""
    table = bytearray(range(256))
    for byte in (*range(33), 127):
        table[byte] = 32
    for byte in range(ord("A"), ord("Z") + 1):
        table[byte] = byte + 32
    for byte in range(ord("0"), ord("9") + 1):
        table[byte] = ord("0")
    return bytes(table)


_FOLD: Final = _fold()
_BYTE32: Final = np.array([word & 0xFFFFFFFF for word in _split_mix(256)], dtype=np.uint32)
_BYTE64: Final = np.array(_split_mix(512)[256:], dtype=np.uint64)
_POWERS: Final = _powers(_P64, _MAX_BYTES + 2)
_INVERSES: Final = _powers(pow(_P64, -1, 1 << 64), _MAX_BYTES + 2)
_IS_WORD: Final = np.array([chr(b).isalnum() if b < 128 else True for b in range(256)]) | (np.arange(256) == ord("_"))
_MIX64: Final = np.uint64(0xD6E8FEB86659FD93)
_PAIR64: Final = np.uint64(0xA0761D6478BD642F)
_HALF64: Final = np.uint64(32)
_MIX3: Final = np.uint32(0x9E3779B1)
_MIX4: Final = np.uint32(0x85EBCA77)
_MIX5: Final = np.uint32(0xC2B2AE3D)
_DIGITS: Final = b"0123456789"

CHEAP_NAMES: Final = (
    "non_ascii",
    "length",
    "digits",
    "code",
    "choices",
    "question",
    "lines",
    "math_marks",
    "equals",
    "blanks",
    "ends_with_question",
    "has_tools",
    "has_images",
    "wants_json",
    "has_system",
)


def cut(text: str) -> str:
    """The part of a text that is read: all of it up to 4,000 characters, else its head and tail."""
    if len(text) <= HEAD_CHARACTERS + TAIL_CHARACTERS:
        return text
    return text[:HEAD_CHARACTERS] + text[-TAIL_CHARACTERS:]


def stable_hash(text: str) -> int:
    """CRC-32 of the UTF-8 bytes; Python's own `hash` differs from process to process."""
    return zlib.crc32(text.encode("utf-8", "replace"))


def _log2(n: int) -> float:
    """log2 of n >= 1, linear between powers of two: a library's logarithm may differ in its last bit."""
    mantissa, exponent = frexp(n)
    return exponent - 2.0 + 2.0 * mantissa


class HashedFeatures:
    """Vectors of hashed grams (word 1-2, byte 3-5), projected, with cheap facts about the request beside them.

    buckets: rows of the table, of which the last 128 are kept for system prompts and task tags; 256..65,536.
    n_topics: unsupervised dimensions (latent semantic analysis) of unit length together: what the prompt is about.
    n_targets: supervised dimensions: what the prompt's words say of the models' scores (at most the number of models).
    rank: of the decomposition in which the supervised part is fitted.
    ridge: penalty of that fit, as a multiple of the mean variance of a dimension of the decomposition.
    seed: of the randomised decomposition.

    Learns table_ int8 (buckets, n_topics + n_targets), target_scale_ and target_shift_ float32 (n_targets,),
    cheap_shift_ and cheap_scale_ float32 (n_cheap,), non_ascii_limit_ float32 (1,): the share of bytes beyond ASCII
    above which a text is unlike all that was learned from.

    `fit_transform` gives the training rows supervised dimensions out of fold, from the other four fifths: the router
    that learns from them then sees how good they are on prompts that they were not fitted to (as scikit-learn's
    TargetEncoder does).
    Source: Deerwester et al., "Indexing by latent semantic analysis", 1990; Weinberger et al., "Feature hashing for
    large scale multitask learning", 2009, arXiv:0902.2206; Halko et al., "Finding structure with randomness", 2011,
    arXiv:0909.4061.
    """

    name: ClassVar[str] = "hashed"
    arguments: ClassVar[tuple[str, ...]] = ("buckets", "n_topics", "n_targets", "rank", "ridge", "seed")
    arrays: ClassVar[tuple[str, ...]] = (
        "table",
        "target_scale",
        "target_shift",
        "cheap_shift",
        "cheap_scale",
        "non_ascii_limit",
    )
    table_: NDArray[np.int8]
    target_scale_: Float32
    target_shift_: Float32
    cheap_shift_: Float32
    cheap_scale_: Float32
    non_ascii_limit_: Float32

    def __init__(
        self,
        *,
        buckets: int = 8192,
        n_topics: int = 48,
        n_targets: int = 12,
        rank: int = 256,
        ridge: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.buckets = buckets
        self.n_topics = n_topics
        self.n_targets = n_targets
        self.rank = rank
        self.ridge = ridge
        self.seed = seed

    # --- one prompt -----------------------------------------------------------------------------------------------

    def grams(self, raw: bytes) -> Indices:
        """Bucket of every gram of a text, int64 (n_grams,); `raw` is the cut text as UTF-8.

        A run's hash is a polynomial in its bytes. Those of 3, 4 and 5 bytes roll from one another; a word's is the
        difference of two prefix sums, brought to a common power by the inverse modulo 2**64.
        """
        b = np.frombuffer(b" " + raw.translate(_FOLD) + b" ", dtype=np.uint8)
        n = b.size
        r = _BYTE32.take(b)
        h3 = r[:-2] * _P32
        h3 += r[1:-1]
        h3 *= _P32
        h3 += r[2:]
        h4 = h3[:-1] * _P32
        h4 += r[3:]
        h5 = h4[:-1] * _P32
        h5 += r[4:]
        edges = np.flatnonzero(np.diff(_IS_WORD.take(b)))
        starts = edges[0::2] + 1
        sums = _BYTE64.take(b)
        sums *= _POWERS[:n]
        sums = np.cumsum(sums)
        words = sums.take(edges[1::2])
        words -= sums.take(starts - 1)
        words *= _INVERSES.take(starts)
        words *= _MIX64
        pairs = words[:-1] * _PAIR64
        pairs += words[1:]
        pairs *= _MIX64
        end3 = h3.size
        end4 = end3 + h4.size
        end5 = end4 + h5.size
        end_words = end5 + words.size
        out = np.empty(end_words + pairs.size, dtype=np.uint64)
        np.multiply(h3, _MIX3, out=out[:end3])
        np.multiply(h4, _MIX4, out=out[end3:end4])
        np.multiply(h5, _MIX5, out=out[end4:end5])
        np.right_shift(words, _HALF64, out=out[end5:end_words])
        np.right_shift(pairs, _HALF64, out=out[end_words:])
        out *= np.uint64(self.buckets - _RESERVED)
        out >>= _HALF64
        return out.view(np.int64)

    def _indices(self, prompt: Prompt, raw: bytes) -> Indices:
        """`grams` with the rows of the system prompt and the task tag, where there are any."""
        indices = self.grams(raw) if raw else np.empty(0, dtype=np.int64)
        extra: list[int] = []
        first = self.buckets - _RESERVED
        if prompt.system:
            extra += [first + stable_hash(prompt.system[:SYSTEM_CHARACTERS]) % 64] * _RESERVED_REPEATS
        if prompt.task:
            extra += [first + 64 + stable_hash(prompt.task[:200]) % 64] * _RESERVED_REPEATS
        return np.concatenate((indices, np.array(extra, dtype=np.int64))) if extra else indices

    def _cheap(self, prompt: Prompt, text: str, raw: bytes) -> list[float]:
        """Facts in the order of `CHEAP_NAMES`, before scaling."""
        n_bytes = len(raw) or 1
        count = text.count
        return [
            (n_bytes - len(text)) / n_bytes if text else 0.0,
            _log2(n_bytes),
            (n_bytes - len(raw.translate(None, _DIGITS))) / n_bytes,
            "```" in text or "def " in text or "assert " in text or "();" in text or "#include" in text,
            "\nB" in text or "(B)" in text or " B)" in text,
            "?" in text,
            min(1.0, 20.0 * count("\n") / n_bytes),
            min(1.0, 20.0 * (count("$") + count("\\")) / n_bytes),
            min(1.0, 20.0 * (count("=") + count("^")) / n_bytes),
            "__" in text,
            text.endswith("?"),
            prompt.has_tools,
            prompt.has_images,
            prompt.wants_json,
            bool(prompt.system),
        ]

    def vector(self, prompt: Prompt) -> Float32:
        """float32 (n_features,); the hot path. Raises NotFitted."""
        try:
            table = self._table
        except AttributeError:
            raise NotFitted("fit or load these features before asking them for vectors") from None
        text = cut(prompt.text)
        raw = text.encode("utf-8", "replace")
        indices = self._indices(prompt, raw)
        n = indices.size
        if n < _COUNT_FROM_GRAMS:
            sums = self._ones[:n] @ table.take(indices, axis=0, mode="clip")
        else:
            sums = np.bincount(indices, minlength=self.buckets).astype(np.float32) @ table
        out = np.empty(self.n_features, dtype=np.float32)
        n_topics = self.n_topics
        topics = sums[:n_topics].astype(np.float64)
        length = sqrt(float(topics @ topics))  # exact in any order: a sum of integers below 2**53
        if length:
            np.divide(topics, length, out=out[:n_topics], casting="unsafe")
        else:
            out[:n_topics] = 0
        end = n_topics + len(self.target_scale_)
        targets = out[n_topics:end]
        np.multiply(sums[n_topics:], self.target_scale_, out=targets)
        targets /= np.float32(sqrt(n or 1))
        targets -= self.target_shift_
        cheap = np.array(self._cheap(prompt, text, raw), dtype=np.float32)
        cheap -= self.cheap_shift_
        cheap *= self.cheap_scale_
        np.minimum(np.maximum(cheap, -_CHEAP_LIMIT, out=cheap), _CHEAP_LIMIT, out=out[end:])
        return out

    def why_unlike(self, prompt: Prompt) -> str:
        """Why the prompt is out of the range that was learned from, in a few plain words; empty where it is not."""
        text = prompt.text
        if not text or text.isspace():
            return "empty prompt"
        if not text.isascii():
            text = cut(text)
            n_bytes = len(text.encode("utf-8", "replace"))
            if (n_bytes - len(text)) / n_bytes > self._non_ascii_limit:
                return "script unlike the training prompts"
        return ""

    @property
    def n_features(self) -> int:
        return self.n_topics + len(self.target_scale_) + len(CHEAP_NAMES)

    # --- many prompts ---------------------------------------------------------------------------------------------

    def transform(self, prompts: Sequence[Prompt]) -> Float32:
        """float32 (n, n_features), each row as `vector` gives it."""
        if not hasattr(self, "_table"):
            raise NotFitted("fit or load these features before asking them for vectors")
        out = np.empty((len(prompts), self.n_features), dtype=np.float32)
        for row, prompt in enumerate(prompts):
            out[row] = self.vector(prompt)
        return out

    def fit(self, prompts: Sequence[Prompt], quality: Float32 | None = None) -> Self:
        """Learn the projection; with quality float32 (n, n_models), NaN where not recorded, the supervised part too."""
        self.fit_transform(prompts, quality)
        return self

    def fit_transform(self, prompts: Sequence[Prompt], quality: Float32 | None = None) -> Float32:
        """`fit`, and the training rows' vectors with supervised dimensions out of fold, float32 (n, n_features)."""
        if not 256 <= self.buckets <= 65_536:
            raise ValueError(f"buckets must lie in 256..65536, got {self.buckets}")
        if min(self.n_topics, self.rank) < 1 or self.n_targets < 0:
            raise ValueError("n_topics and rank must be at least 1, n_targets at least 0")
        if not prompts:
            raise ValueError("no prompts to learn from")
        rng = np.random.default_rng(self.seed)
        chosen = np.arange(len(prompts))
        if len(chosen) > _MAX_FIT_ROWS:
            chosen = np.sort(rng.permutation(len(prompts))[:_MAX_FIT_ROWS])

        X = np.zeros((len(chosen), self.buckets), dtype=np.float32)
        cheap = np.zeros((len(prompts), len(CHEAP_NAMES)), dtype=np.float32)
        sizes = np.ones(len(chosen))
        place = {int(row): at for at, row in enumerate(chosen)}
        for row, prompt in enumerate(prompts):
            text = cut(prompt.text)
            raw = text.encode("utf-8", "replace")
            cheap[row] = self._cheap(prompt, text, raw)
            if row in place:
                indices = self._indices(prompt, raw)
                X[place[row]] = np.bincount(indices, minlength=self.buckets)
                sizes[place[row]] = max(1, indices.size)
        rarity = np.log(1.0 / ((X > 0).mean(axis=0) + 1e-4)).clip(0).astype(np.float32)
        X *= rarity
        X /= np.sqrt(sizes)[:, None].astype(np.float32)

        rank = min(self.rank, *X.shape)
        axes = _top_axes(X, rank, rng)
        Z = X @ axes
        del X
        n_topics = min(self.n_topics, rank)
        topics = np.zeros((self.buckets, self.n_topics), dtype=np.float32)
        topics[:, :n_topics] = axes[:, :n_topics]
        parts = [rarity[:, None] * topics]
        out_of_fold = np.zeros((len(chosen), 0), dtype=np.float32)
        self.target_scale_ = self.target_shift_ = np.zeros(0, dtype=np.float32)
        if quality is not None and self.n_targets:
            targets = _leading_targets(np.asarray(quality, dtype=np.float64)[chosen], self.n_targets)
            weights, shift, out_of_fold = _cross_fit(Z, targets, self.ridge)
            unit = np.float32(_TARGET_STD / max(float(out_of_fold[:, 0].std()), 1e-6))
            out_of_fold *= unit
            parts.append(rarity[:, None] * (axes @ (weights * unit)))
            self.target_shift_ = (shift * unit).astype(np.float32)

        steps = [_step(parts[0]) * np.ones(self.n_topics, dtype=np.float32)]
        if len(parts) > 1:
            self.target_scale_ = np.array([_step(column) for column in parts[1].T], dtype=np.float32)
            steps.append(self.target_scale_)
        table = np.hstack(parts) / np.concatenate(steps)
        self.table_ = np.clip(np.rint(table), -127, 127).astype(np.int8)

        self.cheap_shift_ = cheap.mean(axis=0)
        spread = cheap.std(axis=0)
        self.cheap_scale_ = np.where(spread > 1e-4, _CHEAP_STD / np.maximum(spread, 1e-4), 0).astype(np.float32)
        self.non_ascii_limit_ = np.array([max(0.3, np.quantile(cheap[:, 0], 0.999))], dtype=np.float32)
        self._prepare()
        vectors = self.transform(prompts)
        vectors[chosen, self.n_topics : self.n_topics + out_of_fold.shape[1]] = out_of_fold
        return vectors

    # --- saving and loading ---------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        self._table = self.table_.astype(np.float32)
        self._ones = np.ones(_COUNT_FROM_GRAMS, dtype=np.float32)
        self._non_ascii_limit = float(self.non_ascii_limit_[0])

    def params(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {argument: getattr(self, argument) for argument in self.arguments}

    def state(self) -> dict[str, Array]:
        """Learned arrays by name."""
        if not hasattr(self, "_table"):
            raise NotFitted("fit these features before saving them")
        return {name: getattr(self, f"{name}_") for name in self.arrays}

    @classmethod
    def from_state(cls, params: Mapping[str, Any], arrays: Mapping[str, Array]) -> Self:
        """The features that `params` and `state` were taken from. Raises ValueError naming what does not fit."""
        unknown = sorted(set(params) - set(cls.arguments))
        if unknown:
            raise ValueError(f'unknown argument "{unknown[0]}" of features "{cls.name}"')
        features = cls(**params)
        for argument, low, high in (("buckets", 256, 65_536), ("n_topics", 1, 4096)):
            value = getattr(features, argument)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f'argument "{argument}" must be a whole number in {low}..{high}, is {value!r}')
        for name in cls.arrays:
            if name not in arrays:
                raise ValueError(f'array "{name}" is missing')
            setattr(features, f"{name}_", arrays[name])
        n_targets = features.target_scale_.size
        check_array("table", features.table_, np.int8, (features.buckets, features.n_topics + n_targets))
        check_array("target_scale", features.target_scale_, np.float32, (n_targets,))
        check_array("target_shift", features.target_shift_, np.float32, (n_targets,))
        check_array("cheap_shift", features.cheap_shift_, np.float32, (len(CHEAP_NAMES),))
        check_array("cheap_scale", features.cheap_scale_, np.float32, (len(CHEAP_NAMES),))
        check_array("non_ascii_limit", features.non_ascii_limit_, np.float32, (1,))
        features._prepare()
        return features


_CHEAP_LIMIT: Final = np.float32(3 * _CHEAP_STD)


def _step(weights: Float32) -> np.float32:
    """Size of one int8 step for these weights: the few outliers beyond 127 steps are clipped."""
    top = float(np.quantile(np.abs(weights), 0.9995))
    return np.float32(max(top, 1e-12) / 127.0)


def _top_axes(X: Float32, rank: int, rng: np.random.Generator) -> Float32:
    """Leading right singular vectors of X (n, f), float32 (f, rank), by randomised subspace iteration."""
    width = min(rank + 20, *X.shape)
    Y = X @ rng.standard_normal((X.shape[1], width), dtype=np.float32)
    for _ in range(3):
        basis = np.linalg.qr(Y)[0]
        basis = np.linalg.qr(X.T @ basis)[0]
        Y = X @ basis
    basis = np.linalg.qr(Y)[0]
    axes: Float32 = np.linalg.svd(basis.T @ X, full_matrices=False)[2]
    axes = axes[:rank].T
    sign = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(rank)])
    return np.ascontiguousarray(axes * np.where(sign == 0, 1, sign), dtype=np.float32)


def _leading_targets(quality: NDArray[np.float64], n_targets: int) -> Float32:
    """Leading principal components of the scores, float32 (n, at most n_targets).

    Scores may come from several sets that share few models: a request's own level (how hard it is for everybody) and
    each model's are fitted by alternation first; what is missing counts as that sum.
    """
    known = ~np.isnan(quality)
    filled = np.where(known, quality, 0.0)
    level = np.zeros(len(quality))
    means = np.zeros(quality.shape[1])
    for _ in range(30):
        means = ((filled - level[:, None]) * known).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        level = ((filled - means) * known).sum(axis=1) / np.maximum(known.sum(axis=1) + 0.5, 1)
    deviation = np.where(known, filled - means, level[:, None])
    deviation -= deviation.mean(axis=0)
    left, values, _ = np.linalg.svd(deviation, full_matrices=False)
    n = min(n_targets, len(values))
    targets: Float32 = (left[:, :n] * values[:n]).astype(np.float32)
    return targets


def _cross_fit(Z: Float32, targets: Float32, ridge: float) -> tuple[Float32, Float32, Float32]:
    """Ridge weights (r, t) and shift (t,) on all rows, and every row's prediction by the fit that left its fold out."""
    variance = float(Z.var(axis=0).mean())
    fold = np.arange(len(Z)) % _FOLDS
    weights, intercept, _ = fit_ridge(Z, targets, ridge * variance * len(Z))
    out = np.zeros_like(targets)
    for k in range(_FOLDS):
        inside, outside = fold == k, fold != k
        if outside.any():
            w, c, _ = fit_ridge(Z[outside], targets[outside], ridge * variance * int(outside.sum()))
            out[inside] = Z[inside] @ w + c
    return weights, -intercept, out
