"""Find each feature's part of a score in a booster's trees: exact TreeSHAP, many times as fast as LightGBM's.

A tree of few splits sends a row one of few ways: what each way gives is worked out once, then looked up. Trees of more
splits are worked out for each row, by the same loop.

Source: Lundberg et al., "Consistent individualized feature attribution for tree ensembles", 2018, by quadrature.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from features.engine.native_code import load_kernels
from training.models import tree_kernels

_MOST_KNOWN = 8  # splits of a tree whose ways are all worked out: at most 256 of them
_MOST_SPLITS = 62  # ways are the bits of a number
_ROWS = 64  # at a time: what is worked out for them stays near the processor
_CATEGORICAL, _DEFAULT_LEFT, _ZERO_IS_MISSING, _NAN_IS_MISSING = 1, 2, 4, 8  # bits of LightGBM's decision_type


class _Edges(NamedTuple):
    """Trees' edges, as `tree_kernels.explain_patterns` reads them; `column` is the feature, or its cell."""

    edges_from: np.ndarray
    split: np.ndarray
    is_left: np.ndarray
    parent: np.ndarray
    earlier: np.ndarray
    share: np.ndarray
    value: np.ndarray
    column: np.ndarray
    points_from: np.ndarray
    points: np.ndarray
    weights: np.ndarray

    def explain(self, patterns: np.ndarray, out: np.ndarray) -> None:
        """Add to each feature, or cell, what the patterns give it.

        Args:
            patterns: (trees, rows) int64.
            out: (columns, rows).
        """
        trees, rows = patterns.shape
        edges, points = (int(np.diff(begins).max(initial=0)) for begins in (self.edges_from, self.points_from))
        taken = np.empty((edges, rows), dtype=np.int64)
        down, up, total = np.empty((edges, points, rows)), np.empty((edges, points, rows)), np.empty(rows)
        _run("explain_patterns", patterns, rows, trees, *self, taken, down, up, total, out)


class TreeExplainer:
    """A booster's trees, ready to explain rows; safe from several threads.

    Args:
        text: LightGBM's own text of the booster.

    Raises:
        ValueError: A kind of trees that this does not read: of several classes, averaged, with linear leaves, with 0
            as missing, of more than 62 splits, or in another version of the text.
    """

    def __init__(self, text: str) -> None:
        head, *blocks = text.split("\nend of trees", 1)[0].split("\nTree=")
        trees = [tree for tree in map(_read_fields, blocks) if tree["num_leaves"] != "1"]
        types = _read_numbers(trees, "decision_type")
        is_read = "\nversion=v4\n" in head and "\nnum_tree_per_iteration=1\n" in head
        is_read &= "\naverage_output\n" not in head and not (types & _ZERO_IS_MISSING).any()
        is_read &= all(tree["is_linear"] == "0" and int(tree["num_leaves"]) <= 1 + _MOST_SPLITS for tree in trees)
        if not is_read:
            message = "LightGBM's text holds trees of another kind"
            raise ValueError(message)
        self._columns = 1 + int(_read_fields(head)["max_feature_idx"])
        small = [tree for tree in trees if int(tree["num_leaves"]) <= 1 + _MOST_KNOWN]
        large = [tree for tree in trees if int(tree["num_leaves"]) > 1 + _MOST_KNOWN]
        self._small, self._splits = len(small), _read_splits(small + large)
        self._known, self._large = _work_out(small), _list_edges(large)

    def explain(self, matrix: np.ndarray) -> np.ndarray:
        """Return each feature's part of the log-odds, (n, features); a row alone gets the same bits as among others.

        Args:
            matrix: (n, features); NaN where missing.
        """
        parts = [self._explain(matrix[k : k + _ROWS]) for k in range(0, len(matrix), _ROWS)]
        return np.concatenate([np.empty((0, self._columns)), *parts])

    def _explain(self, matrix: np.ndarray) -> np.ndarray:
        rows, trees = len(matrix), len(self._splits[0]) - 1
        patterns = np.zeros((trees, rows), dtype=np.int64)
        out = np.zeros((self._columns, rows))
        _run("find_patterns", np.ascontiguousarray(matrix.T, dtype=np.float64), rows, trees, *self._splits, patterns)
        _run("add_known", patterns, rows, self._small, *self._known, out)
        if trees > self._small:
            self._large.explain(patterns[self._small :], out)
        return out.T


def _run(kernel: str, *arguments: np.ndarray | int) -> None:
    # As `ctypes.data`, in a tenth of its time.
    addresses = (a if isinstance(a, int) else a.__array_interface__["data"][0] for a in arguments)
    load_kernels(tree_kernels)[kernel](*addresses)


def _read_fields(block: str) -> Mapping[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _read_numbers(trees: Iterable[Mapping[str, str]], name: str, kind: type = np.int64) -> np.ndarray:
    """Return a field of all trees, one after another."""
    return np.array([number for tree in trees for number in tree.get(name, "").split()], dtype=kind)


def _read_splits(trees: list[Mapping[str, str]]) -> tuple[np.ndarray, ...]:
    """Return the trees' splits, as `tree_kernels.find_patterns` reads them."""
    types, thresholds = _read_numbers(trees, "decision_type"), _read_numbers(trees, "threshold", np.float64)
    is_category = (types & _CATEGORICAL) != 0
    # Where none was missing in training, LightGBM takes a missing value for 0.
    nan_left = np.where(types & _NAN_IS_MISSING, (types & _DEFAULT_LEFT) != 0, thresholds >= 0) & ~is_category
    splits_from = _place([int(tree["num_leaves"]) - 1 for tree in trees])
    sets = [np.empty(0)] * len(types)
    for tree, first in zip(trees, splits_from, strict=False):
        words, bounds = _read_numbers([tree], "cat_threshold"), _read_numbers([tree], "cat_boundaries")
        for split in range(first, first + int(tree["num_leaves"]) - 1):
            if is_category[split]:  # its threshold is the number of its set, of which a word has 32
                of = words[bounds[int(thresholds[split])] : bounds[int(thresholds[split]) + 1]]
                sets[split] = np.flatnonzero(of[:, None] >> np.arange(32) & 1).astype(np.float64)
    ends = _place([len(categories) for categories in sets])
    set_bounds, categories = np.stack([ends[:-1], ends[1:]], axis=1), np.concatenate([np.empty(0), *sets])
    columns = _read_numbers(trees, "split_feature")
    return splits_from, columns, thresholds, nan_left.astype(np.int64), set_bounds, categories


def _list_edges(trees: list[Mapping[str, str]]) -> _Edges:
    """Return the trees' edges."""
    of_trees = [_walk(tree) for tree in trees]
    kinds = [np.int64] * 4 + [np.float64] * 2 + [np.int64]
    parts = zip(*(edge for edges, _ in of_trees for edge in edges), strict=True) if trees else [()] * len(kinds)
    # Half as many points as features on the longest path give the exact integral.
    rules = [np.polynomial.legendre.leggauss((longest + 1) // 2) for _, longest in of_trees]
    points, weights = (np.concatenate([np.empty(0), *(rule[k] for rule in rules)]) for k in range(2))
    edges_from, points_from = _place([len(edges) for edges, _ in of_trees]), _place([len(rule[0]) for rule in rules])
    of_edges = [np.array(part, dtype=kind) for part, kind in zip(parts, kinds, strict=True)]
    return _Edges(*[edges_from, *of_edges, points_from, (points + 1.0) / 2.0, weights / 2.0])


def _walk(tree: Mapping[str, str]) -> tuple[list[tuple[float, ...]], int]:
    """Return one tree's edges, those below an edge after it, and the most features on a path."""
    children = np.stack([_read_numbers([tree], f"{side}_child") for side in ("right", "left")], axis=1).tolist()
    features, values = _read_numbers([tree], "split_feature").tolist(), tree["leaf_value"].split()
    inner, leaves = (_read_numbers([tree], f"{kind}_count").tolist() for kind in ("internal", "leaf"))
    edges, longest = list[tuple[float, ...]](), 0
    todo: list[tuple[int, int, dict[int, int]]] = [(0, -1, {})]  # a split, the edge to it, the last edge by feature
    while todo:
        split, parent, path = todo.pop()
        earlier = path.get(features[split], -1)
        longest = max(longest, len({*path, features[split]}))
        for is_left, child in enumerate(children[split]):
            rows, value = (inner[child], 0.0) if child >= 0 else (leaves[~child], float(values[~child]))
            share = rows / inner[split] * (edges[earlier][4] if earlier >= 0 else 1.0)
            if child >= 0:
                todo.append((child, len(edges), path | {features[split]: len(edges)}))
            edges.append((split, is_left, parent, earlier, share, value, features[split]))
    return edges, longest


def _work_out(trees: list[Mapping[str, str]]) -> tuple[np.ndarray, ...]:
    """Return what each way through small trees gives, as `tree_kernels.add_known` reads it."""
    columns, values = [], list[np.ndarray]()
    for tree in trees:
        edges = _list_edges([tree])
        features, cells = np.unique(edges.column, return_inverse=True)
        patterns = np.arange(2 << edges.split.max(), dtype=np.int64)[None, :]
        found = np.zeros((len(features), patterns.size))
        edges._replace(column=cells.astype(np.int64)).explain(patterns, found)
        columns.append(features)
        values += list(found)
    return (
        _place([len(features) for features in columns]),
        np.concatenate([np.empty(0, dtype=np.int64), *columns]),
        _place([len(cell) for cell in values]),
        np.concatenate([np.empty(0), *values]),
    )


def _place(lengths: list[int]) -> np.ndarray:
    """Return where parts of these lengths begin, one after another, and where the last ends."""
    return np.cumsum([0, *lengths], dtype=np.int64)
