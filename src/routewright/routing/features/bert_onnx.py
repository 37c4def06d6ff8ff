"""A BERT encoder's weights as an ONNX graph: token numbers in, the mean of the last layer's rows out.

Weights are held in 7 bits and a sign's worth of range (-63..63), one scale per column, and the products are made of
whole numbers (`DynamicQuantizeMatMul`): a third of the time of float32. 8 bits would be a little closer to float32, but
their products overflow on processors without VNNI, which would then give another vector for the same text.

The graph takes one text, not a batch: activations are scaled by the largest of a whole input, so a text's vector would
depend on what shares its batch, and on a processor's core there is nothing to be won by a batch that fills its caches.

ONNX is a protobuf; the few message types that are needed are written here, as `onnx.proto3` numbers their fields. That
saves the `onnx` package, which nothing else needs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any, Final

import numpy as np

from routewright.routing.router import Array, Float32

_TOP: Final = 63
_ELEMENT_TYPES: Final = {"float32": 1, "int8": 3, "int64": 7}
_FLOAT: Final = 1
_INT64: Final = 7
_OPSET: Final = 20
_IR_VERSION: Final = 9
_MICROSOFT: Final = "com.microsoft"
"""ONNX Runtime's own operators."""


def bert_graph(weight_of: Callable[[str], Array], *, n_layers: int, n_heads: int, epsilon: float) -> bytes:
    """The graph's bytes: inputs `ids` and `places` int64 (n_tokens,), output `mean` float32 (width,).

    weight_of: gives a weight by its name in `transformers`' `BertModel`; asked for one at a time, so that not all of
    them need be in memory. What it raises for one that is missing is passed on.
    """
    graph = _Graph()

    def dense(x: str, name: str, weight: Float32, bias: Float32) -> str:
        scale = np.maximum(np.abs(weight).max(axis=0), 1e-9) / np.float32(_TOP)
        return graph.add(
            "DynamicQuantizeMatMul",
            x,
            graph.constant(f"{name}.weight", np.rint(weight / scale).astype(np.int8)),
            graph.constant(f"{name}.scale", scale.astype(np.float32)),
            graph.constant(f"{name}.zero", np.zeros(len(scale), dtype=np.int8)),
            graph.constant(f"{name}.bias", bias.astype(np.float32)),
            domain=_MICROSOFT,
        )

    def linear(x: str, name: str) -> str:
        return dense(x, name, weight_of(f"{name}.weight").T, weight_of(f"{name}.bias"))

    def norm(x: str, name: str) -> str:
        scale, bias = (graph.constant(f"{name}.{part}", weight_of(f"{name}.{part}")) for part in ("weight", "bias"))
        return graph.add("LayerNormalization", x, scale, bias, epsilon=epsilon)

    # one byte a number for the table of words too, a scale for each row
    words = weight_of("embeddings.word_embeddings.weight")
    width = words.shape[1]
    step = np.maximum(words.max(axis=1, keepdims=True), -words.min(axis=1, keepdims=True)) / np.float32(127)
    step = np.maximum(step, np.float32(1e-9))
    steps = np.empty(words.shape, dtype=np.int8)
    for at in range(0, len(words), 1024):
        steps[at : at + 1024] = np.rint(words[at : at + 1024] / step[at : at + 1024])
    del words
    table = graph.constant("words", steps)
    del steps
    rows = graph.add("Cast", graph.add("Gather", table, "ids"), to=_FLOAT)
    rows = graph.add("Mul", rows, graph.add("Gather", graph.constant("words.step", step.astype(np.float32)), "ids"))
    places = (
        weight_of("embeddings.position_embeddings.weight") + weight_of("embeddings.token_type_embeddings.weight")[0]
    )
    x = graph.add("Add", rows, graph.add("Gather", graph.constant("places.table", places), "places"))
    x = norm(x, "embeddings.LayerNorm")

    heads = graph.constant("heads", np.array([0, 3, n_heads, width // n_heads]))
    flat = graph.constant("flat", np.array([0, width]))
    numbers = [graph.constant(f"part.{i}", np.array(i)) for i in range(3)]
    for layer in range(n_layers):
        name = f"encoder.layer.{layer}"
        pairs = [
            (weight_of(f"{name}.attention.self.{part}.weight").T, weight_of(f"{name}.attention.self.{part}.bias"))
            for part in ("query", "key", "value")
        ]
        softer = np.float32(1 / sqrt(width / n_heads))
        pairs[0] = (pairs[0][0] * softer, pairs[0][1] * softer)
        joined = dense(
            x,
            f"{name}.qkv",
            np.concatenate([weight for weight, _ in pairs], axis=1),
            np.concatenate([bias for _, bias in pairs]),
        )
        joined = graph.add("Reshape", joined, heads)  # (n_tokens, 3, n_heads, width of a head)
        query, key, value = (
            graph.add("Transpose", graph.add("Gather", joined, number, axis=1), perm=order)
            for number, order in zip(numbers, ([1, 0, 2], [1, 2, 0], [1, 0, 2]), strict=True)
        )
        share = graph.add("Softmax", graph.add("MatMul", query, key), axis=-1)
        context = graph.add("Transpose", graph.add("MatMul", share, value), perm=[1, 0, 2])
        context = linear(graph.add("Reshape", context, flat), f"{name}.attention.output.dense")
        x = norm(graph.add("Add", x, context), f"{name}.attention.output.LayerNorm")
        hidden = graph.add("Gelu", linear(x, f"{name}.intermediate.dense"))
        x = norm(graph.add("Add", x, linear(hidden, f"{name}.output.dense")), f"{name}.output.LayerNorm")
    graph.add("ReduceMean", x, graph.constant("tokens", np.array([0])), keepdims=0, output="mean")
    return graph.model(inputs=("ids", "places"), output="mean", width=width)


class _Graph:
    """Nodes and constants in the order in which they are added."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []

    def constant(self, name: str, array: Array) -> str:
        dims = b"".join(_field(1, size) for size in array.shape)
        kind = _field(2, _ELEMENT_TYPES[array.dtype.name])
        content = array.tobytes()
        head = dims + kind + _field(8, name) + _head(9, len(content))
        self._constants += [_head(5, len(head) + len(content)), head, content]
        return name

    def add(self, operator: str, *inputs: str, domain: str = "", output: str = "", **attributes: Any) -> str:
        output = output or f"node.{len(self._nodes)}"
        self._nodes.append(
            b"".join(_field(1, name) for name in inputs)
            + _field(2, output)
            + _field(4, operator)
            + b"".join(_field(5, _attribute(name, value)) for name, value in attributes.items())
            + _field(7, domain)
        )
        return output

    def model(self, *, inputs: Sequence[str], output: str, width: int) -> bytes:
        graph = [
            *(_field(1, node) for node in self._nodes),
            _field(2, "encoder"),
            *self._constants,
            *(_field(11, _value(name, _INT64, "n_tokens")) for name in inputs),
            _field(12, _value(output, _FLOAT, width)),
        ]
        domains = [_field(8, _field(1, name) + _field(2, version)) for name, version in (("", _OPSET), (_MICROSOFT, 1))]
        return b"".join([_field(1, _IR_VERSION), _head(7, sum(map(len, graph))), *graph, *domains])


def _attribute(name: str, value: int | float | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return _field(1, name) + _field(3, value) + _field(20, 2)
    if isinstance(value, float):
        return _field(1, name) + _field(2, value) + _field(20, 1)
    return _field(1, name) + b"".join(_field(8, item) for item in value) + _field(20, 7)


def _value(name: str, element_type: int, size: int | str) -> bytes:
    """A one-dimensional input or output; a size that is a name may be anything."""
    dimension = _field(1, size) if isinstance(size, int) else _field(2, size)
    return _field(1, name) + _field(2, _field(1, _field(1, element_type) + _field(2, _field(1, dimension))))


def _field(number: int, value: int | float | str | bytes) -> bytes:
    """One field of a protobuf message. Source: protobuf.dev/programming-guides/encoding."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value % 2**64)
    if isinstance(value, float):
        return _varint(number << 3 | 5) + struct.pack("<f", value)
    content = value.encode() if isinstance(value, str) else value
    return _head(number, len(content)) + content


def _head(number: int, size: int) -> bytes:
    """What stands before the `size` bytes of a field."""
    return _varint(number << 3 | 2) + _varint(size)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
