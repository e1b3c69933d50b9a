"""Loops over trees: which way rows go at each split, and what that gives each feature.

As `features.engine.window_kernels`, they are plain Python that `features.engine.native_code` compiles, over flat
arrays: a table lies row by row. The innermost loop is over rows, so that one instruction takes several of them; each
row's sums have one order, so it gets the same bits alone as among others. Arrays are int64 unless said:

    splits_from  (trees + 1,)  where each tree's splits begin
    patterns     (trees, rows)  whether a row goes left at its tree's split k: bit k
    out          (columns, rows)  float64: added to
"""

# ruff: noqa: C901, D417, PLR0912, PLR0913, PLR0917  # compiled loops: long, over plain arrays, calling nothing

from __future__ import annotations

from typing import Any

from features.engine.native_code import ARRAY, FLOATS, NUMBER


def find_patterns(
    matrix: Any,
    rows: Any,
    trees: Any,
    splits_from: Any,
    column: Any,
    threshold: Any,
    nan_left: Any,
    set_bounds: Any,
    categories: Any,
    patterns: Any,
) -> None:
    """Fill in `patterns`, which are 0.

    Args:
        matrix: (columns, rows) float64.
        column: (splits,) which value splits.
        threshold: (splits,) float64; a number goes left up to it.
        nan_left: (splits,) whether a missing value goes left.
        set_bounds: (splits, 2) where the set of categories that go left begins and ends; the same for a number.
        categories: float64: all sets, one after another.
        rows, trees, splits_from, patterns: As everywhere.
    """
    for tree in range(trees):
        for split in range(splits_from[tree], splits_from[tree + 1]):
            bit = 1 << (split - splits_from[tree])
            to, at = tree * rows, column[split] * rows
            begin, end = set_bounds[2 * split], set_bounds[2 * split + 1]
            if begin == end:
                limit, if_missing = threshold[split], bit * nan_left[split]
                for i in range(rows):
                    value = matrix[at + i]
                    patterns[to + i] |= bit if value <= limit else (0 if value == value else if_missing)  # noqa: PLR0124  # NaN
            else:
                for k in range(begin, end):
                    for i in range(rows):
                        patterns[to + i] |= bit if matrix[at + i] == categories[k] else 0


def add_known(
    patterns: Any, rows: Any, trees: Any, cells_from: Any, cell_column: Any, cell_values: Any, values: Any, out: Any
) -> None:
    """Add what was worked out for each pattern.

    Args:
        cells_from: (trees + 1,) where each tree's cells begin: one for each feature that it looks at.
        cell_column: (cells,) the feature.
        cell_values: (cells,) where the cell's values begin, one for each pattern.
        values: float64.
        patterns, rows, trees, out: As everywhere.
    """
    for tree in range(trees):
        for cell in range(cells_from[tree], cells_from[tree + 1]):
            to, at, of = cell_column[cell] * rows, cell_values[cell], tree * rows
            for i in range(rows):
                out[to + i] += values[at + patterns[of + i]]


def explain_patterns(
    patterns: Any,
    rows: Any,
    trees: Any,
    edges_from: Any,
    split: Any,
    is_left: Any,
    parent: Any,
    earlier: Any,
    share: Any,
    value: Any,
    column: Any,
    points_from: Any,
    points: Any,
    weights: Any,
    taken: Any,
    down: Any,
    up: Any,
    total: Any,
    out: Any,
) -> None:
    """Add each feature's Shapley values, by quadrature.

    A leaf gives feature j the integral over t from 0 to 1 of value * (o_j - z_j) * the product of o_k t + z_k (1 - t)
    over the other features k on its path: o is 1 where the row goes that way and else 0, z the share of training's
    rows that do. That is a polynomial, so few points are exact. Products grow from the root on, sums from the leaves.

    Args:
        edges_from: (trees + 1,) where each tree's edges begin; those below an edge come after it.
        split: (edges,) the tree's split above.
        is_left: (edges,) whether it is the left one.
        parent: (edges,) the tree's edge above, or -1.
        earlier: (edges,) the tree's last edge above of the same feature, or -1.
        share: (edges,) float64: z, of all edges of the feature down to here.
        value: (edges,) float64: of the leaf that it leads to, 0 where it leads to a split.
        column: (edges,) where the feature's values go in `out`.
        points_from: (trees + 1,) where each tree's points begin.
        points: Float64 between 0 and 1, with their `weights`.
        taken: Scratch, (edges, rows) of the largest tree.
        down: Scratch, (edges, points, rows) float64; `up` likewise.
        total: Scratch, (rows,) float64.
        patterns, rows, trees, out: As everywhere.
    """
    for tree in range(trees):
        first, edges, bits = edges_from[tree], edges_from[tree + 1] - edges_from[tree], tree * rows
        from_point, count = points_from[tree], points_from[tree + 1] - points_from[tree]
        for e in range(edges):
            bit, wanted = 1 << split[first + e], is_left[first + e]
            above, same, leaf = parent[first + e], earlier[first + e], value[first + e]
            for i in range(rows):
                goes = 1 if ((patterns[bits + i] & bit) != 0) == (wanted != 0) else 0
                taken[e * rows + i] = goes if same < 0 else goes & taken[same * rows + i]
            for q in range(count):
                point, at = points[from_point + q], (e * count + q) * rows
                absent = share[first + e] * (1.0 - point)
                present = point + absent
                for i in range(rows):
                    down[at + i] = present if taken[e * rows + i] else absent
                if above >= 0:
                    for i in range(rows):
                        down[at + i] *= down[(above * count + q) * rows + i]
                if same >= 0:
                    absent = 1.0 / (share[first + same] * (1.0 - point))
                    present = 1.0 / (point + share[first + same] * (1.0 - point))
                    for i in range(rows):
                        down[at + i] *= present if taken[same * rows + i] else absent
                for i in range(rows):
                    up[at + i] = down[at + i] * leaf
        for after in range(edges):
            e = edges - 1 - after
            for which in range(2):
                of, sign = (e, 1.0) if which == 0 else (earlier[first + e], -1.0)
                if of >= 0:
                    for i in range(rows):
                        total[i] = 0.0
                    for q in range(count):
                        point, weight, at = points[from_point + q], weights[from_point + q], (e * count + q) * rows
                        absent = weight / (share[first + of] * (1.0 - point))
                        present = weight / (point + share[first + of] * (1.0 - point))
                        for i in range(rows):
                            total[i] += up[at + i] * (present if taken[of * rows + i] else absent)
                    to = column[first + e] * rows
                    for i in range(rows):
                        out[to + i] += sign * (taken[of * rows + i] - share[first + of]) * total[i]
            above = parent[first + e]
            if above >= 0:
                for i in range(count * rows):
                    up[above * count * rows + i] += up[e * count * rows + i]


KERNELS: dict[Any, tuple[str, ...]] = {
    find_patterns: (FLOATS, NUMBER, NUMBER, ARRAY, ARRAY, FLOATS, ARRAY, ARRAY, FLOATS, ARRAY),
    add_known: (ARRAY, NUMBER, NUMBER, ARRAY, ARRAY, ARRAY, FLOATS, FLOATS),
    explain_patterns: (
        *(ARRAY, NUMBER, NUMBER, ARRAY, ARRAY, ARRAY, ARRAY, ARRAY, FLOATS, FLOATS, ARRAY),
        *(ARRAY, FLOATS, FLOATS, ARRAY, FLOATS, FLOATS, FLOATS, FLOATS),
    ),
}
