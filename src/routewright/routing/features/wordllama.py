"""Text -> codes by a table of word pieces: the mean of the pieces' rows. Fast enough for the event loop.

The wheel `wordllama` ships a table float16 (32,000, 256) and a tokenizer; both are read from its folder, and the
package itself is not imported (it sets up logging for the whole process). Nothing is downloaded.

Sums are exact: a float16 is a whole multiple of 2**-24, so a few thousand of them add up in float64 without rounding.
The same bytes give the same codes on every machine, as far as the tokenizer does: it is made of whole numbers.

Source: Miller, "WordLlama: recycled token embeddings from large language models", 2024,
github.com/dleemiller/WordLlama.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from routewright.routing.features.contract import MissingExtra, Supplies
from routewright.routing.features.encoded import EncodedFeatures
from routewright.routing.features.encoder import Codes, Encoder, Remembering, to_codes

_TABLE: Final = Path("weights", "l2_supercat_256.safetensors")
_TOKENIZER: Final = Path("tokenizers", "l2_supercat_tokenizer_config.json")
_HEAD_BYTES: Final = 3000
_TAIL_BYTES: Final = 1000
"""What is read of a text: characters that the table lacks are a piece a byte, so it is bytes that take time."""


class WordLlama(Encoder):
    """The mean row of a text's pieces."""

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._table = load_file(folder / _TABLE)["embedding.weight"]
        self.width = self._table.shape[1]

    def encode(self, texts: Sequence[str]) -> Codes:
        """As the contract says."""
        out = np.zeros((len(texts), self.width), dtype=np.int8)
        for row, text in zip(out, texts, strict=True):
            raw = text.encode("utf-8", "replace")
            if len(raw) > _HEAD_BYTES + _TAIL_BYTES:
                raw = raw[:_HEAD_BYTES] + raw[-_TAIL_BYTES:]
            pieces = self._tokenizer.encode(raw.decode("utf-8", "ignore"), add_special_tokens=False).ids
            if pieces:
                row[:] = to_codes(self._table[pieces].sum(axis=0, dtype=np.float64))
        return out


@cache
def _encoder() -> Encoder:
    spec = find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("wordllama", "wordllama")
    try:
        return Remembering(WordLlama(Path(spec.submodule_search_locations[0])))
    except ImportError as error:
        raise MissingExtra("wordllama", "wordllama", error) from None


class WordLlamaFeatures(EncodedFeatures):
    """See `EncodedFeatures`; the encoder is WordLlama's table. Its codes bear less trust than an encoder's: `ridge`."""

    name: ClassVar[str] = "wordllama"

    def __init__(self, *, n_topics: int = 64, n_targets: int = 12, ridge: float = 1.0, with_facts: bool = True) -> None:
        super().__init__(n_topics=n_topics, n_targets=n_targets, ridge=ridge, with_facts=with_facts)

    def find_encoder(self, supplies: Supplies) -> Encoder:
        """As `EncodedFeatures` says."""
        return _encoder()
