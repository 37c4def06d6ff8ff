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
_ONES: Final = np.ones(_COUNT_FROM_GRAMS, dtype=np.float32)
_RESERVED_REPEATS: Final = 8
"""A system prompt or a task tag weighs as much as this many grams of the text."""
_MAX_FIT_ROWS: Final = 30_000
"""The decomposition reads at most this many prompts: more changes little and memory is rows times buckets."""
_FOLDS: Final = 5
_TARGET_STD: Final = 0.7
_CHEAP_STD: Final = 0.1
"""Weight of a target's and a cheap fact's standard deviation against the topics' length of 1; tuned on validation."""
_LIMIT: Final = 3 * _CHEAP_STD
_CHEAP_LIMIT: Final = np.float32(_LIMIT)


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
_WORD64: Final = np.dtype("<u8")
_MARGIN: Final = b" " + bytes(7)
_IS_WORD: Final = bytes(byte > 127 or byte == ord("_") or chr(byte).isalnum() for byte in range(256))
"""Letters, digits, `_` and all of a character beyond ASCII make words."""
_ODD: Final = 0x9E3779B97F4A7C15
_RUNS64: Final = np.array([[(_ODD << shift) % 2**64] for shift in (40, 32, 24)], dtype=np.uint64)
"""Times an 8-byte word: the hashes of its first 3, 4 and 5 bytes, since what is shifted out has no say."""
_MASKS64: Final = np.array([2 ** (8 * size) - 1 for size in range(9)], dtype=np.uint64)
# arrays without dimensions: cheaper in a product than numpy's own scalars
_WORDS64: Final = np.array(0xD6E8FEB86659FD93, dtype=np.uint64)
_FIRSTS64: Final = np.array(0xA0761D6478BD642F, dtype=np.uint64)
"""For a word as the first of a pair; a text's last word makes a pair with nothing."""
_SHIFTS: Final = {1 << bits: np.array(64 - bits, dtype=np.uint64) for bits in range(8, 17)}
"""By number of buckets."""

MEASURES: Final = ("non_ascii", "length", "digits", "lines", "math_marks", "equals")
FLAGS: Final = (
    "code",
    "choices",
    "question",
    "blanks",
    "ends_with_question",
    "has_tools",
    "has_images",
    "wants_json",
    "has_system",
)
CHEAP_NAMES: Final = MEASURES + FLAGS


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


def measures(text: str, folded: bytes) -> tuple[float, ...]:
    """The facts of `MEASURES` about a cut text and its folded bytes, before scaling."""
    n_bytes = len(folded) or 1
    count = text.count
    dense = 0.05 * n_bytes  # one byte in twenty is as much as counts
    # to look for a character that is not there is much cheaper than to count it
    lines = count("\n") if "\n" in text else 0
    maths = (count("$") if "$" in text else 0) + (count("\\") if "\\" in text else 0)
    equals = (count("=") if "=" in text else 0) + (count("^") if "^" in text else 0)
    return (
        (n_bytes - len(text)) / n_bytes if text else 0.0,
        _log2(n_bytes),
        folded.count(b"0") / n_bytes if b"0" in folded else 0.0,
        lines / dense if lines < dense else 1.0,
        maths / dense if maths < dense else 1.0,
        equals / dense if equals < dense else 1.0,
    )


def flags(prompt: Prompt, text: str) -> tuple[bool, ...]:
    """The facts of `FLAGS` about a prompt and its cut text.

    One character is looked for many times faster than two, so a rare one comes first.
    """
    return (
        ("`" in text and "```" in text)
        or ("(" in text and ("def " in text or "assert " in text or "();" in text))
        or ("#" in text and "#include" in text),
        "B" in text and ("\nB" in text or "(B)" in text or " B)" in text),
        "?" in text,
        "_" in text and "__" in text,
        text.endswith("?"),
        prompt.has_tools,
        prompt.has_images,
        prompt.wants_json,
        prompt.system != "",
    )


class HashedFeatures:
    """Vectors of hashed grams (word 1-2, byte 3-5), projected, with cheap facts about the request beside them.

    buckets: rows of the table for grams, a power of two in 256..65,536; 128 more are for system prompts and task tags.
    n_topics: unsupervised dimensions (latent semantic analysis), their mean square length 1: what the prompt is about.
    n_targets: supervised dimensions: what the prompt's words say of the models' scores (at most the number of models).
    rank: of the decomposition in which the supervised part is fitted.
    ridge: penalty of that fit, as a multiple of the mean variance of a dimension of the decomposition.
    seed: of the randomised decomposition.

    Learns table_ int8 (buckets + 128, n_topics + n_targets), scale_ and shift_ float32 (n_topics + n_targets,),
    cheap_shift_ and cheap_scale_ float32 (n_cheap,), non_ascii_limit_ float32 (1,): the share of bytes beyond ASCII
    above which a text is unlike all that was learned from.

    A vector is affine in the counts of the grams over the square root of their number, and in the cheap facts, each of
    which is held within three standard deviations. Scaling topics to unit length, as is usual, was no better in any of
    three sets, and would keep a linear router's weights from being multiplied into the table (`Folded`).

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
        "scale",
        "shift",
        "cheap_shift",
        "cheap_scale",
        "non_ascii_limit",
    )
    table_: NDArray[np.int8]
    scale_: Float32
    shift_: Float32
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

    def grams(self, folded: bytes) -> Indices:
        """Bucket of every gram of a text, int64 (n_grams,); `folded` is the cut text as UTF-8, folded.

        Every run of up to 8 bytes is a whole number read from an overlapping view; multiplied by an odd constant, its
        topmost bits are the bucket. A word counts with its first 8 bytes. The last runs reach into the margin.
        """
        padded = b"  " + folded + _MARGIN
        n = len(folded)
        runs = np.ndarray((n + 1,), _WORD64, padded, 1, (1,))
        is_word = np.frombuffer(padded.translate(_IS_WORD), np.bool_)
        edges = (is_word[1:] != is_word[:-1]).nonzero()[0]
        starts = edges[0::2]
        end_runs = 3 * n
        end_words = end_runs + starts.size
        out = np.empty(end_words + starts.size, dtype=np.uint64)
        np.multiply(runs[:n], _RUNS64, out[:end_runs].reshape(3, n))
        words = runs[starts]
        words &= _MASKS64.take(edges[1::2] - starts, None, None, "clip")
        firsts = np.multiply(words, _FIRSTS64, out[end_words:])[:-1]
        words = np.multiply(words, _WORDS64, out[end_runs:end_words])
        firsts += words[1:]
        out >>= _SHIFTS[self.buckets]
        return out.view(np.int64)

    def _indices(self, prompt: Prompt, folded: bytes) -> Indices:
        """`grams` with the rows of the system prompt and the task tag, where there are any."""
        indices = self.grams(folded)
        if not prompt.system and not prompt.task:
            return indices
        extra: list[int] = []
        if prompt.system:
            extra += [self.buckets + stable_hash(prompt.system[:SYSTEM_CHARACTERS]) % 64] * _RESERVED_REPEATS
        if prompt.task:
            extra += [self.buckets + 64 + stable_hash(prompt.task[:200]) % 64] * _RESERVED_REPEATS
        return np.concatenate((indices, np.array(extra, dtype=np.int64)))

    def vector(self, prompt: Prompt) -> Float32:
        """float32 (n_features,). Raises NotFitted."""
        try:
            table = self._table
        except AttributeError:
            raise NotFitted("fit or load these features before asking them for vectors") from None
        text = cut(prompt.text)
        folded = text.encode("utf-8", "replace").translate(_FOLD)
        indices = self._indices(prompt, folded)
        n = indices.size
        if n < _COUNT_FROM_GRAMS:
            sums = _ONES[:n].dot(table.take(indices, 0, None, "clip"))
        else:
            sums = np.bincount(indices, minlength=len(table)).astype(np.float32).dot(table)
        out = np.empty(self.n_features, dtype=np.float32)
        end = len(self.scale_)
        grams, cheap = out[:end], out[end:]
        np.multiply(sums, self.scale_, out=grams)
        grams /= np.float32(sqrt(n or 1))
        grams -= self.shift_
        cheap[:] = measures(text, folded) + flags(prompt, text)
        cheap -= self.cheap_shift_
        cheap *= self.cheap_scale_
        np.minimum(np.maximum(cheap, -_CHEAP_LIMIT, out=cheap), _CHEAP_LIMIT, out=cheap)
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
        return len(self.scale_) + len(CHEAP_NAMES)

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
        if self.buckets not in _SHIFTS:
            raise ValueError(f"buckets must be a power of two in 256..65536, got {self.buckets}")
        if min(self.n_topics, self.rank) < 1 or self.n_targets < 0:
            raise ValueError("n_topics and rank must be at least 1, n_targets at least 0")
        if not prompts:
            raise ValueError("no prompts to learn from")
        rng = np.random.default_rng(self.seed)
        chosen = np.arange(len(prompts))
        if len(chosen) > _MAX_FIT_ROWS:
            chosen = np.sort(rng.permutation(len(prompts))[:_MAX_FIT_ROWS])

        n_rows = self.buckets + _RESERVED
        X = np.zeros((len(chosen), n_rows), dtype=np.float32)
        cheap = np.zeros((len(prompts), len(CHEAP_NAMES)), dtype=np.float32)
        sizes = np.ones(len(chosen))
        place = {int(row): at for at, row in enumerate(chosen)}
        for row, prompt in enumerate(prompts):
            text = cut(prompt.text)
            folded = text.encode("utf-8", "replace").translate(_FOLD)
            cheap[row] = measures(text, folded) + flags(prompt, text)
            if row in place:
                indices = self._indices(prompt, folded)
                X[place[row]] = np.bincount(indices, minlength=n_rows)
                sizes[place[row]] = max(1, indices.size)
        rarity = np.log(1.0 / ((X > 0).mean(axis=0) + 1e-4)).clip(0).astype(np.float32)
        X *= rarity
        X /= np.sqrt(sizes)[:, None].astype(np.float32)

        rank = min(self.rank, *X.shape)
        axes = _top_axes(X, rank, rng)
        Z = X @ axes
        del X
        n_topics = min(self.n_topics, rank)
        length = np.float32(sqrt(float(np.mean(np.square(Z[:, :n_topics], dtype=np.float64).sum(axis=1)))) or 1.0)
        topics = np.zeros((n_rows, self.n_topics), dtype=np.float32)
        topics[:, :n_topics] = axes[:, :n_topics] / length
        parts = [rarity[:, None] * topics]
        out_of_fold = np.zeros((len(chosen), 0), dtype=np.float32)
        shift = np.zeros(0, dtype=np.float32)
        if quality is not None and self.n_targets:
            targets = _leading_targets(np.asarray(quality, dtype=np.float64)[chosen], self.n_targets)
            weights, shift, out_of_fold = _cross_fit(Z, targets, self.ridge)
            unit = np.float32(_TARGET_STD / max(float(out_of_fold[:, 0].std()), 1e-6))
            out_of_fold *= unit
            parts.append(rarity[:, None] * (axes @ (weights * unit)))
            shift *= unit

        table = np.hstack(parts)
        self.scale_ = np.full(table.shape[1], _step(parts[0]), dtype=np.float32)
        self.scale_[self.n_topics :] = [_step(column) for column in table[:, self.n_topics :].T]
        self.shift_ = np.concatenate((np.zeros(self.n_topics), shift)).astype(np.float32)
        self.table_ = np.clip(np.rint(table / self.scale_), -127, 127).astype(np.int8)

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
        if features.buckets not in _SHIFTS:
            raise ValueError(f'argument "buckets" must be a power of two in 256..65536, is {features.buckets!r}')
        if type(features.n_topics) is not int or not 1 <= features.n_topics <= 4096:
            raise ValueError(f'argument "n_topics" must be a whole number in 1..4096, is {features.n_topics!r}')
        for name in cls.arrays:
            if name not in arrays:
                raise ValueError(f'array "{name}" is missing')
            setattr(features, f"{name}_", arrays[name])
        n = features.scale_.size
        if n < features.n_topics:
            raise ValueError(f'array "scale" must have at least {features.n_topics} entries, has {n}')
        check_array("table", features.table_, np.int8, (features.buckets + _RESERVED, n))
        check_array("scale", features.scale_, np.float32, (n,))
        check_array("shift", features.shift_, np.float32, (n,))
        check_array("cheap_shift", features.cheap_shift_, np.float32, (len(CHEAP_NAMES),))
        check_array("cheap_scale", features.cheap_scale_, np.float32, (len(CHEAP_NAMES),))
        check_array("non_ascii_limit", features.non_ascii_limit_, np.float32, (1,))
        features._prepare()
        return features


class Folded:
    """Affine functions of a prompt's vector, without the vector: `vector(prompt) @ weights + offset`, to rounding.

    features: fitted. weights: float32 (n_features, n). offset: (n,).

    The weights are multiplied into the table once, so that a bucket's row has n entries instead of some sixty, and a
    decision costs a third of the calls. Every entry is a plain Python float after one gather and one product.
    """

    def __init__(self, features: HashedFeatures, weights: Float32, offset: Float32) -> None:
        w = weights.astype(np.float64)
        end = len(features.scale_)
        n = w.shape[1]
        self._features = features
        # rows of 8, 16 or 32 bytes are gathered fastest
        self._table = np.zeros((len(features.table_), 1 << (n - 1).bit_length()), dtype=np.float32)
        self._table[:, :n] = features.table_ @ (features.scale_[:, None] * w[:end])
        shift, scale = features.cheap_shift_.astype(np.float64), features.cheap_scale_.astype(np.float64)
        self._scaling = list(zip(shift.tolist(), scale.tolist(), strict=True))[: len(MEASURES)]
        self._of_measures = [tuple(column) for column in w[end : end + len(MEASURES)].T.tolist()]
        # one row for each combination of flags, which brings the offset along
        bits = (np.arange(1 << len(FLAGS))[:, None] >> np.arange(len(FLAGS))) & 1
        held = ((bits - shift[len(MEASURES) :]) * scale[len(MEASURES) :]).clip(-_LIMIT, _LIMIT)
        self._of_flags = held @ w[end + len(MEASURES) :] + (offset - features.shift_ @ w[:end])

    def __call__(self, prompt: Prompt) -> list[float]:
        text = prompt.text
        if len(text) > HEAD_CHARACTERS + TAIL_CHARACTERS:
            text = cut(text)
        folded = text.encode("utf-8", "replace").translate(_FOLD)
        indices = self._features._indices(prompt, folded)
        n = indices.size
        if n < _COUNT_FROM_GRAMS:
            sums = _ONES[:n].dot(self._table.take(indices, 0, None, "clip"))
        else:
            sums = np.bincount(indices, minlength=len(self._table)).astype(np.float32).dot(self._table)
        per_gram = 1.0 / sqrt(n or 1)
        at = 0
        for bit, flag in enumerate(flags(prompt, text)):
            if flag:
                at |= 1 << bit
        held = []
        for value, (shift, scale) in zip(measures(text, folded), self._scaling, strict=True):
            value = (value - shift) * scale
            held.append(value if -_LIMIT < value < _LIMIT else _LIMIT if value > 0 else -_LIMIT)
        a, b, c, d, e, f = held
        return [
            total * per_gram + base + a * wa + b * wb + c * wc + d * wd + e * we + f * wf
            for base, total, (wa, wb, wc, wd, we, wf) in zip(
                self._of_flags[at].tolist(), sums.tolist(), self._of_measures, strict=False
            )
        ]


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
