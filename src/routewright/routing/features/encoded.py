"""Vectors from an encoder of texts: what it says, projected and told apart by scores, with the cheap facts beside it.

What an encoder gives is kept in steps, one byte a number (`Codes`). The projection is in steps too, so a vector is a
sum of whole numbers: exact, in any order, by any BLAS. The same codes give the same vector on every machine, alone or
in a batch; how far the same text gives the same codes is for each encoder to say.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from math import sqrt
from typing import ClassVar, Final, Self

import numpy as np

from routewright.routing.features.cheap import (
    CHEAP_NAMES,
    FOLD,
    cheap_facts,
    cut,
    fit_cheap,
    scale_cheap,
    why_unlike,
)
from routewright.routing.features.contract import Features, NoVector, Supplies
from routewright.routing.features.encoder import PROBE, Codes, Encoder, likeness
from routewright.routing.features.stored import StoredCodes
from routewright.routing.features.supervised import fit_targets, leading_axes, step
from routewright.routing.router import Float32, NotFitted, check_array
from routewright.types import Prompt

_LEAST_LIKENESS: Final = 0.95
_MAX_FIT_ROWS: Final = 30_000
_MAX_WIDTH: Final = 8192


class EncodedFeatures(Features):
    """What an encoder says of the text, in `n_topics` directions, with supervised dimensions and cheap facts.

    n_topics: leading directions of the training prompts, their mean square length 1; 0: all that the encoder has.
    n_targets: supervised dimensions: what the codes say of the models' scores (at most the number of models).
    ridge: penalty of their fit, as a multiple of the mean variance of a code.
    with_facts: have the cheap facts too; where several makers are joined, one has them.

    Learns axes_ int8 (width, n_topics + n_targets), scale_ and shift_ float32 (n_topics + n_targets,), cheap_shift_ and
    cheap_scale_ float32 (n_cheap,), non_ascii_limit_ float32 (1,), and probe_ int8 (width,): the encoder's codes of
    `PROBE`, by which another encoder is found out.

    Training rows get their supervised dimensions out of fold (`fit_targets`).
    """

    arguments: ClassVar[tuple[str, ...]] = ("n_topics", "n_targets", "ridge", "with_facts")
    arrays: ClassVar[tuple[str, ...]] = (
        "axes",
        "scale",
        "shift",
        "cheap_shift",
        "cheap_scale",
        "non_ascii_limit",
        "probe",
    )
    axes_: Codes
    scale_: Float32
    shift_: Float32
    cheap_shift_: Float32
    cheap_scale_: Float32
    non_ascii_limit_: Float32
    probe_: Codes
    encoder: Encoder

    def __init__(self, *, n_topics: int = 32, n_targets: int = 12, ridge: float = 0.1, with_facts: bool = True) -> None:
        self.n_topics = n_topics
        self.n_targets = n_targets
        self.ridge = ridge
        self.with_facts = with_facts

    @abstractmethod
    def find_encoder(self, supplies: Supplies) -> Encoder:
        """The encoder, loaded. Raises MissingExtra; ValueError where the configuration lacks something."""

    def open(self, supplies: Supplies) -> Self:
        """As the contract says. Raises ValueError too where the encoder is not the one that was learned with."""
        self.encoder = self.find_encoder(supplies)
        if hasattr(self, "probe_"):
            self.check_encoder()
        if supplies.encodings is not None:
            self.encoder = StoredCodes(self.encoder, supplies.encodings, self.name)
        return self

    def check_encoder(self) -> None:
        """Raise ValueError where the encoder's codes of the probe are unlike those that were learned with."""
        found = self.encoder.encode([PROBE])[0]
        if len(found) != len(self.probe_):
            raise ValueError(f'array "probe" has {len(self.probe_)} codes, the encoder of "{self.name}" {len(found)}')
        if likeness(found, self.probe_) < _LEAST_LIKENESS:
            raise ValueError(f'features "{self.name}" were learned with another encoder than the one installed here')

    # --- vectors --------------------------------------------------------------------------------------------------

    @property
    def n_features(self) -> int:
        return len(self.scale_) + (len(CHEAP_NAMES) if self.with_facts else 0)

    def vector(self, prompt: Prompt) -> Float32:
        """As the contract says."""
        vector: Float32 = self.transform([prompt])[0]
        return vector

    def transform(self, prompts: Sequence[Prompt]) -> Float32:
        """As the contract says."""
        if not hasattr(self, "_axes"):
            raise NotFitted("fit or load these features before asking them for vectors")
        texts = [cut(prompt.text) for prompt in prompts]
        return self._vectors(prompts, texts, self.encoder.encode(texts))

    def _vectors(self, prompts: Sequence[Prompt], texts: Sequence[str], codes: Codes) -> Float32:
        out = np.empty((len(prompts), self.n_features), dtype=np.float32)
        end = len(self.scale_)
        if not len(out):
            return out
        if codes.shape[1] != len(self._axes):
            raise NoVector(f"the encoder gives {codes.shape[1]} codes, {len(self._axes)} were learned with")
        out[:, :end] = (codes.astype(np.float64) @ self._axes) * self.scale_ - self.shift_
        if self.with_facts:
            for row, prompt, text in zip(out[:, end:], prompts, texts, strict=True):
                row[:] = cheap_facts(prompt, text, text.encode("utf-8", "replace").translate(FOLD))
                scale_cheap(row, self.cheap_shift_, self.cheap_scale_)
        return out

    def why_unlike(self, prompt: Prompt) -> str:
        """As the contract says; a script that the training prompts hardly held is out of range too."""
        return why_unlike(prompt, float(self.non_ascii_limit_[0]))

    # --- learning -------------------------------------------------------------------------------------------------

    def fit_transform(self, prompts: Sequence[Prompt], quality: Float32 | None = None) -> Float32:
        """As the contract says."""
        if min(self.n_topics, self.n_targets) < 0:
            raise ValueError("n_topics and n_targets must be at least 0")
        if not prompts:
            raise ValueError("no prompts to learn from")
        texts = [cut(prompt.text) for prompt in prompts]
        codes = self.encoder.encode(texts)
        chosen = np.linspace(0, len(prompts) - 1, min(len(prompts), _MAX_FIT_ROWS)).astype(np.int64)
        Z = codes[chosen].astype(np.float32)
        mean = Z.mean(axis=0)
        n_topics = min(self.n_topics or Z.shape[1], Z.shape[1])
        topics = leading_axes(Z - mean, n_topics)
        length = sqrt(float(np.mean(np.square((Z - mean) @ topics, dtype=np.float64).sum(axis=1)))) or 1.0
        parts = [topics / np.float32(length)]
        shifts = [mean @ parts[0]]
        out_of_fold = np.zeros((len(chosen), 0), dtype=np.float32)
        if quality is not None and self.n_targets:
            weights, shift, out_of_fold = fit_targets(Z, quality[chosen], self.n_targets, self.ridge)
            parts.append(weights)
            shifts.append(shift)
        axes = np.hstack(parts)
        self.scale_ = np.full(axes.shape[1], step(parts[0]), dtype=np.float32)
        self.scale_[n_topics:] = [step(column) for column in axes[:, n_topics:].T]
        self.shift_ = np.concatenate(shifts).astype(np.float32)
        self.axes_ = np.clip(np.rint(axes / self.scale_), -127, 127).astype(np.int8)
        cheap = np.array(
            [
                cheap_facts(prompt, text, text.encode("utf-8", "replace").translate(FOLD))
                for prompt, text in zip(prompts, texts, strict=True)
            ],
            dtype=np.float32,
        )
        self.cheap_shift_, self.cheap_scale_, self.non_ascii_limit_ = fit_cheap(cheap)
        self.probe_ = self.encoder.encode([PROBE])[0]
        self._prepare()
        vectors = self._vectors(prompts, texts, codes)
        vectors[chosen, n_topics : n_topics + out_of_fold.shape[1]] = out_of_fold
        return vectors

    # --- saving and loading ---------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        self._axes = self.axes_.astype(np.float64)

    def check_state(self) -> None:
        """As the contract says."""
        width, n = self.probe_.size, self.scale_.size
        if width > _MAX_WIDTH:
            raise ValueError(f'array "probe" may have {_MAX_WIDTH} entries, has {width}')
        check_array("probe", self.probe_, np.int8, (width,))
        check_array("axes", self.axes_, np.int8, (width, n))
        check_array("scale", self.scale_, np.float32, (n,))
        check_array("shift", self.shift_, np.float32, (n,))
        check_array("cheap_shift", self.cheap_shift_, np.float32, (len(CHEAP_NAMES),))
        check_array("cheap_scale", self.cheap_scale_, np.float32, (len(CHEAP_NAMES),))
        check_array("non_ascii_limit", self.non_ascii_limit_, np.float32, (1,))
        self._prepare()
