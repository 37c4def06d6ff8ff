"""Rows in lists around centres, so that the nearest of a million are found by looking at a few thousand."""

from __future__ import annotations

from math import sqrt
from typing import Final

import numpy as np

from routewright.routing.kmeans import nearest_centres, spherical_k_means
from routewright.routing.router import Array, Float32, Int64, check_array

SAMPLE_BY_LIST: Final = 64
"""Rows by list that the centres are learned from; more moves them little."""
_ROUNDS: Final = 8


def lists_for(n_rows: int) -> int:
    """Twice the square root: centres and the rows of a few lists are about equally long to look through."""
    return max(1, round(2 * sqrt(n_rows)))


class InvertedLists:
    """Unit rows sorted into lists by the centre that each is nearest to; a search looks through the nearest lists.

    Nothing here is compiled or parsed by foreign code, and equal rows and seed give equal lists: a graph index
    (HNSW) is quicker at the same recall, but is built in a random order, takes minutes for a million rows instead of
    seconds, and its file would be read by a native library that was not written to distrust it.
    Source: Sivic and Zisserman, "Video Google", ICCV 2003 (inverted files); Jégou et al., "Product quantization for
    nearest neighbor search", PAMI 2011, IVF without the quantizer.

    rows: float32 (n, f), sorted by list. starts: int64 (n_lists + 1,). centres: float32 (n_lists, f).
    """

    def __init__(self, rows: Float32, starts: Int64, centres: Float32, probes: int) -> None:
        self._rows = rows
        self._starts = starts.tolist()
        self._centres = centres
        self._probes = min(probes, len(centres))

    def search(self, x: Float32, k: int) -> tuple[Int64, Float32]:
        """Positions of the k most similar rows found, fewer where the lists hold fewer, and their similarity to x."""
        near = self._centres @ x
        probes = self._probes
        lists = np.argpartition(near, len(near) - probes)[len(near) - probes :] if probes < len(near) else range(probes)
        starts = self._starts
        parts, positions = [], []
        for number in lists:
            low, high = starts[number], starts[number + 1]
            if low < high:
                parts.append(self._rows[low:high] @ x)
                positions.append(np.arange(low, high))
        similarity = np.concatenate(parts)
        where = np.concatenate(positions)
        if k < len(similarity):
            best = np.argpartition(similarity, len(similarity) - k)[len(similarity) - k :]
            return where[best], similarity[best]
        return where, similarity


def sort_into_lists(rows: Float32, n_lists: int, seed: int) -> tuple[Int64, Int64, Float32]:
    """The order (n,) that sorts unit rows by list, where each list starts (n_lists + 1,), and the centres."""
    n_lists = min(n_lists, len(rows))
    rng = np.random.default_rng(seed)
    sample = rows
    if len(rows) > n_lists * SAMPLE_BY_LIST:
        sample = rows[np.sort(rng.permutation(len(rows))[: n_lists * SAMPLE_BY_LIST])]
    centres, _ = spherical_k_means(sample, n_lists, seed, rounds=_ROUNDS)
    member = nearest_centres(rows, centres)
    order = np.argsort(member, kind="stable")
    starts = np.zeros(n_lists + 1, dtype=np.int64)
    np.cumsum(np.bincount(member, minlength=n_lists), out=starts[1:])
    return order, starts, centres


def check_lists(centres: Array, starts: Array, order: Array, *, n_rows: int, n_features: int) -> None:
    """Raise ValueError, naming the array, unless all three are empty or sort so many rows into lists."""
    n_lists = len(centres)
    check_array("centres", centres, np.float32, (n_lists, n_features))
    check_array("starts", starts, np.int64, (n_lists + 1 if n_lists else 0,))
    check_array("order", order, np.int64, (n_rows if n_lists else 0,))
    if not n_lists:
        return
    if starts[0] != 0 or starts[-1] != n_rows or (np.diff(starts) < 0).any():
        raise ValueError(f'array "starts" must ascend from 0 to {n_rows}')
    if order.min() < 0 or order.max() >= n_rows:
        raise ValueError(f'array "order" must lie in 0..{n_rows - 1}')
