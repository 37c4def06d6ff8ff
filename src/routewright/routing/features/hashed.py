"""Text -> vector by hashed word and character grams, a learned projection, and a few cheap facts about the request.

The sum over a prompt's grams is a sum of small integers held in float32. As long as it stays below 2**24 every partial
sum is exact, so neither the order of summation nor the BLAS at hand changes a bit of it: the same bytes give the same
vector on every machine, alone or in a batch, by the short way or the long one.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from routewright.routing.features.cheap import (
    CHEAP_LIMIT,
    CHEAP_NAMES,
    FLAGS,
    FOLD,
    HEAD_CHARACTERS,
    MEASURES,
    TAIL_CHARACTERS,
    cheap_facts,
    cut,
    fit_cheap,
    flags,
    measures,
    scale_cheap,
    stable_hash,
    why_unlike,
)
from routewright.routing.features.contract import SYSTEM_CHARACTERS, Features
from routewright.routing.features.supervised import fit_targets, step, top_axes
from routewright.routing.router import Float32, NotFitted, check_array
from routewright.types import Prompt

Indices = NDArray[np.int64]

_RESERVED: Final = 128
"""Rows at the table's end for the system prompt's hash and the caller's task tag, never shared with grams."""

_COUNT_FROM_GRAMS: Final = 6000
"""Rows to gather grow with the text; from here on, counting per bucket and one product with the table is cheaper."""
_ONES: Final = np.ones(_COUNT_FROM_GRAMS, dtype=np.float32)
_RESERVED_REPEATS: Final = 8
"""A system prompt or a task tag weighs as much as this many grams of the text."""
_MAX_FIT_ROWS: Final = 30_000
"""The decomposition reads at most this many prompts: more changes little and memory is rows times buckets."""


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

_FAMILIARITY_STEP: Final = np.float32(0.08)
"""Nats to one int8 step: e**-10 of the prompts, one in 22,000, is the rarest that is told apart."""
_LEAST_GRAMS: Final = 100
"""A text of fewer grams, some thirty characters, is too short to be called unlike anything."""
UNFAMILIAR: Final = "unlike the training prompts"


class HashedFeatures(Features):
    """Vectors of hashed grams (word 1-2, byte 3-5), projected, with cheap facts about the request beside them.

    buckets: rows of the table for grams, a power of two in 256..65,536; 128 more are for system prompts and task tags.
    n_topics: unsupervised dimensions (latent semantic analysis), their mean square length 1: what the prompt is about.
    n_targets: supervised dimensions: what the prompt's words say of the models' scores (at most the number of models).
    rank: of the decomposition in which the supervised part is fitted.
    ridge: penalty of that fit, as a multiple of the mean variance of a dimension of the decomposition.
    seed: of the randomised decomposition.

    Learns table_ int8 (buckets + 128, n_topics + n_targets), scale_ and shift_ float32 (n_topics + n_targets,),
    cheap_shift_ and cheap_scale_ float32 (n_cheap,), non_ascii_limit_ float32 (1,): the share of bytes beyond ASCII
    above which a text is unlike all that was learned from; familiarity_ int8 (buckets + 128,): of each gram, the
    logarithm of the share of training prompts that hold it, in steps of 0.08; familiarity_limit_ float32 (1,): a text
    whose grams are on average less familiar than this is as unlike (random letters, base64; its distance from the
    training prompts is the perplexity of a model of single grams).

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
    later_arrays: ClassVar[tuple[str, ...]] = ("familiarity", "familiarity_limit")
    table_: NDArray[np.int8]
    scale_: Float32
    shift_: Float32
    cheap_shift_: Float32
    cheap_scale_: Float32
    non_ascii_limit_: Float32
    familiarity_: NDArray[np.int8]
    familiarity_limit_: Float32

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

    def _read(self, prompt: Prompt, table: Float32) -> tuple[str, bytes, int, Float32]:
        """The cut text, its folded bytes, the number of its grams, and the sum of their rows of a table."""
        text = prompt.text
        if len(text) > HEAD_CHARACTERS + TAIL_CHARACTERS:
            text = cut(text)
        folded = text.encode("utf-8", "replace").translate(FOLD)
        indices = self._indices(prompt, folded)
        n = indices.size
        if n < _COUNT_FROM_GRAMS:
            return text, folded, n, _ONES[:n].dot(table.take(indices, 0, None, "clip"))
        return text, folded, n, np.bincount(indices, minlength=len(table)).astype(np.float32).dot(table)

    def vector(self, prompt: Prompt) -> Float32:
        """float32 (n_features,). Raises NotFitted."""
        return self.look(prompt)[0]

    def look(self, prompt: Prompt) -> tuple[Float32, str]:
        """As the contract says, with one reading of the text."""
        try:
            table = self._table
        except AttributeError:
            raise NotFitted("fit or load these features before asking them for vectors") from None
        text, folded, n, sums = self._read(prompt, table)
        out = np.empty(self.n_features, dtype=np.float32)
        end = len(self.scale_)
        grams, cheap = out[:end], out[end:]
        np.multiply(sums[:end], self.scale_, out=grams)
        grams /= np.float32(sqrt(n or 1))
        grams -= self.shift_
        cheap[:] = cheap_facts(prompt, text, folded)
        scale_cheap(cheap, self.cheap_shift_, self.cheap_scale_)
        return out, self._why_unlike(prompt, n, float(sums[end]))

    def why_unlike(self, prompt: Prompt) -> str:
        """As the contract says; a script or grams that the training prompts hardly held are out of range too."""
        return self.look(prompt)[1]

    def _why_unlike(self, prompt: Prompt, n_grams: int, familiarity: float) -> str:
        why = why_unlike(prompt, self._non_ascii_limit)
        if not why and n_grams >= _LEAST_GRAMS and familiarity < self._familiarity_limit * n_grams:
            return UNFAMILIAR
        return why

    @property
    def n_features(self) -> int:
        return len(self.scale_) + len(CHEAP_NAMES)

    # --- many prompts ---------------------------------------------------------------------------------------------

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
            folded = text.encode("utf-8", "replace").translate(FOLD)
            cheap[row] = cheap_facts(prompt, text, folded)
            if row in place:
                indices = self._indices(prompt, folded)
                X[place[row]] = np.bincount(indices, minlength=n_rows)
                sizes[place[row]] = max(1, indices.size)
        share = (X > 0).mean(axis=0)
        self._fit_familiarity(share, X, sizes)
        rarity = np.log(1.0 / (share + 1e-4)).clip(0).astype(np.float32)
        X *= rarity
        X /= np.sqrt(sizes)[:, None].astype(np.float32)

        rank = min(self.rank, *X.shape)
        axes = top_axes(X, rank, rng)
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
            weights, shift, out_of_fold = fit_targets(Z, quality[chosen], self.n_targets, self.ridge)
            parts.append(rarity[:, None] * (axes @ weights))

        table = np.hstack(parts)
        self.scale_ = np.full(table.shape[1], step(parts[0]), dtype=np.float32)
        self.scale_[self.n_topics :] = [step(column) for column in table[:, self.n_topics :].T]
        self.shift_ = np.concatenate((np.zeros(self.n_topics), shift)).astype(np.float32)
        self.table_ = np.clip(np.rint(table / self.scale_), -127, 127).astype(np.int8)

        self.cheap_shift_, self.cheap_scale_, self.non_ascii_limit_ = fit_cheap(cheap)
        self._prepare()
        vectors = self.transform(prompts)
        vectors[chosen, self.n_topics : self.n_topics + out_of_fold.shape[1]] = out_of_fold
        return vectors

    def _fit_familiarity(self, share: NDArray[np.float64], counts: Float32, sizes: NDArray[np.float64]) -> None:
        """From the share of prompts that hold each gram, and the grams' counts in each prompt (n, rows)."""
        steps = np.clip(np.rint(np.log(share + 0.5 / len(counts)) / _FAMILIARITY_STEP), -127, 0)
        # what a caller says beside the text is neither familiar nor strange
        steps[self.buckets :] = np.rint((counts[:, : self.buckets] @ steps[: self.buckets]).sum() / sizes.sum())
        mean = counts @ (steps * _FAMILIARITY_STEP) / sizes
        least, middle = np.quantile(mean, (0.001, 0.5))
        self.familiarity_ = steps.astype(np.int8)
        self.familiarity_limit_ = np.array([least - 0.1 * (middle - least)], dtype=np.float32)

    # --- saving and loading ---------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        self._table = np.zeros((len(self.table_), self.scale_.size + 1), dtype=np.float32)
        self._table[:, :-1] = self.table_
        self._familiarity_limit = -inf
        if hasattr(self, "familiarity_"):
            self._table[:, -1] = self.familiarity_
            self._familiarity_limit = float(self.familiarity_limit_[0] / _FAMILIARITY_STEP)
        self._non_ascii_limit = float(self.non_ascii_limit_[0])

    def check_state(self) -> None:
        """As the contract says."""
        if self.buckets not in _SHIFTS:
            raise ValueError(f'argument "buckets" must be a power of two in 256..65536, is {self.buckets!r}')
        if type(self.n_topics) is not int or not 1 <= self.n_topics <= 4096:
            raise ValueError(f'argument "n_topics" must be a whole number in 1..4096, is {self.n_topics!r}')
        n = self.scale_.size
        if n < self.n_topics:
            raise ValueError(f'array "scale" must have at least {self.n_topics} entries, has {n}')
        check_array("table", self.table_, np.int8, (self.buckets + _RESERVED, n))
        check_array("scale", self.scale_, np.float32, (n,))
        check_array("shift", self.shift_, np.float32, (n,))
        check_array("cheap_shift", self.cheap_shift_, np.float32, (len(CHEAP_NAMES),))
        check_array("cheap_scale", self.cheap_scale_, np.float32, (len(CHEAP_NAMES),))
        check_array("non_ascii_limit", self.non_ascii_limit_, np.float32, (1,))
        if hasattr(self, "familiarity_"):
            check_array("familiarity", self.familiarity_, np.int8, (self.buckets + _RESERVED,))
            check_array("familiarity_limit", self.familiarity_limit_, np.float32, (1,))
        self._prepare()

    def fold(self, weights: Float32, offset: Float32) -> Folded:
        """As the contract says."""
        return Folded(self, weights, offset)


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
        # rows of 8, 16, 32 or 64 bytes are gathered fastest; the column after the last is the grams' familiarity
        self._table = np.zeros((len(features.table_), 1 << n.bit_length()), dtype=np.float32)
        self._table[:, :n] = features.table_ @ (features.scale_[:, None] * w[:end])
        self._table[:, n] = features._table[:, end]
        self._at_familiarity = n
        shift, scale = features.cheap_shift_.astype(np.float64), features.cheap_scale_.astype(np.float64)
        self._scaling = list(zip(shift.tolist(), scale.tolist(), strict=True))[: len(MEASURES)]
        self._of_measures = [tuple(column) for column in w[end : end + len(MEASURES)].T.tolist()]
        # one row for each combination of flags, which brings the offset along
        bits = (np.arange(1 << len(FLAGS))[:, None] >> np.arange(len(FLAGS))) & 1
        held = ((bits - shift[len(MEASURES) :]) * scale[len(MEASURES) :]).clip(-CHEAP_LIMIT, CHEAP_LIMIT)
        self._of_flags = held @ w[end + len(MEASURES) :] + (offset - features.shift_ @ w[:end])

    def __call__(self, prompt: Prompt) -> tuple[list[float], str]:
        features = self._features
        text, folded, n, sums = features._read(prompt, self._table)
        totals = sums.tolist()
        per_gram = 1.0 / sqrt(n or 1)
        at = 0
        for bit, flag in enumerate(flags(prompt, text)):
            if flag:
                at |= 1 << bit
        held = []
        for value, (shift, scale) in zip(measures(text, folded), self._scaling, strict=True):
            value = (value - shift) * scale
            held.append(value if -CHEAP_LIMIT < value < CHEAP_LIMIT else CHEAP_LIMIT if value > 0 else -CHEAP_LIMIT)
        a, b, c, d, e, f = held
        values = [
            total * per_gram + base + a * wa + b * wb + c * wc + d * wd + e * we + f * wf
            for base, total, (wa, wb, wc, wd, we, wf) in zip(
                self._of_flags[at].tolist(), totals, self._of_measures, strict=False
            )
        ]
        return values, features._why_unlike(prompt, n, totals[self._at_familiarity])
