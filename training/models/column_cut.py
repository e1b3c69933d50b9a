"""Cuts a column out of a booster: each split by it is replaced by the branch of rows whose value is 0.

So a column that training knows and scoring never does is learned from, and nothing of it is left in the model: neither
among its features nor in the reasons for a score.
"""

from __future__ import annotations

from collections.abc import Mapping

import lightgbm as lgb

_NODE_FIELDS = (
    *("split_feature", "split_gain", "threshold", "decision_type"),
    *("left_child", "right_child", "internal_value", "internal_weight", "internal_count"),
)
_LEAF_FIELDS = ("leaf_value", "leaf_weight", "leaf_count")
_HEADERS = ("feature_names", "feature_infos", "monotone_constraints")  # a word a feature


def cut_last_column(booster: lgb.Booster) -> lgb.Booster:
    """Return a booster that scores rows without its last feature as this one scores them with 0 there.

    Args:
        booster: Its last feature is a number of 0 or 1, and never missing.
    """
    last = booster.num_feature() - 1
    text = booster.model_to_string()
    head, *trees = text.split("\nTree=")
    trees[-1], ending = trees[-1].split("\nend of trees", 1)
    lines = [_cut_header(line, last) for line in head.splitlines() if not line.startswith("tree_sizes=")]
    cut = ["\n".join([*lines, ""]), *(_cut_tree(tree, last) for tree in trees)]
    whole = "\nTree=".join(cut) + "\n\n\nend of trees" + ending
    # LightGBM writes it anew, with sizes and importances of what is left.
    return lgb.Booster(model_str=lgb.Booster(model_str=whole).model_to_string())


def _cut_header(line: str, last: int) -> str:
    name, _, value = line.partition("=")
    if name == "max_feature_idx":
        return f"{name}={last - 1}"
    return f"{name}={' '.join(value.split(' ')[:last])}" if name in _HEADERS else line


def _cut_tree(text: str, last: int) -> str:
    """Return a tree's text without splits by a column."""
    number, *lines = text.strip().splitlines()
    fields = dict(line.split("=", 1) for line in lines)
    if str(last) not in fields["split_feature"].split():
        return text.strip() + "\n\n"
    tree = _Tree(fields, last)
    tree.copy(0)
    return "\n".join([number, *(f"{name}={value}" for name, value in tree.write(fields).items())]) + "\n\n"


class _Tree:
    """A tree that is copied node by node, from the root on.

    Args:
        fields: By name, a tree's in LightGBM's text: words by node or by leaf, nodes from the root on.
        last: The column that is cut.
    """

    def __init__(self, fields: Mapping[str, str], last: int) -> None:
        self._old = {name: fields[name].split() for name in (*_NODE_FIELDS, *_LEAF_FIELDS)}
        self._last = str(last)
        self._nodes: list[dict[str, str]] = []
        self._leaves: list[dict[str, str]] = []

    def copy(self, node: int) -> tuple[int, int]:
        """Copy a node, or a leaf (below 0), and all below it; returns its new number and its rows in training."""
        if node < 0:
            leaf = {name: self._old[name][~node] for name in _LEAF_FIELDS}
            self._leaves.append(leaf)
            return ~(len(self._leaves) - 1), int(leaf["leaf_count"])
        if self._old["split_feature"][node] == self._last:
            side = "left_child" if float(self._old["threshold"][node]) >= 0 else "right_child"
            return self.copy(int(self._old[side][node]))
        place, mine = len(self._nodes), {name: self._old[name][node] for name in _NODE_FIELDS}
        self._nodes.append(mine)
        count = 0
        for side in ("left_child", "right_child"):
            child, rows = self.copy(int(self._old[side][node]))
            mine[side], count = str(child), count + rows
        # Of the rows that are left: reasons are weighed by them.
        mine["internal_count"] = str(count)
        return place, count

    def write(self, fields: Mapping[str, str]) -> dict[str, str]:
        """Return the fields of the copy; what belongs to no node stays, such as the sets of categories."""
        by_node = {name: " ".join(node[name] for node in self._nodes) for name in _NODE_FIELDS}
        by_leaf = {name: " ".join(leaf[name] for leaf in self._leaves) for name in _LEAF_FIELDS}
        return {**fields, **by_node, **by_leaf, "num_leaves": str(len(self._leaves))}
