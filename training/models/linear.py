"""Fits the additive part of a model: a strongly regularised logistic regression on the logarithms of the features.

On few and noisy rows trees learn a slope from steps and pay for each; a straight line costs one number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from scipy.special import expit, logit

_PENALTY = 0.03  # on half the squared weights, against the mean log-loss of a row
_FURTHEST = 5.0  # standard deviations from the mean, beyond which a value counts no more
_MOST_ROWS = 200_000  # that some hundred weights are learned from
_MOST_VALUES = 50  # of a text column that get a weight, the commonest
_AT_ONCE = 50_000  # rows, so that many need no second copy of the matrix


@dataclass(frozen=True)
class LinearModel:
    """Log-odds as a sum of terms, one a feature: weight x its distance from the mean in standard deviations.

    Distances are of sign(x) log(1 + |x|); where a value is missing its term is 0, as at the mean. `centres`,
    `scales` and `weights` are (features,) each.

    Args:
        texts: For columns that are codes of text: the column, and the term of each code, the last for all others.
            Empty in a model of an older version.
    """

    intercept: float
    centres: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    texts: tuple[tuple[int, tuple[float, ...]], ...] = ()

    def terms(self, matrix: np.ndarray) -> np.ndarray:
        """Return each feature's part of the log-odds, (n, features)."""
        centres, scales, weights = self._arrays
        terms = _compute_distances(matrix, centres, scales) * weights
        if self.texts:
            columns, rows, table = self._text_table
            # fmin takes the last for null; a code of -1 is the last too.
            codes = np.fmin(matrix[:, columns], table.shape[1] - 1).astype(int)
            terms[:, columns] = table[rows, codes]
        return terms

    def log_odds(self, matrix: np.ndarray) -> np.ndarray:
        """Return the (n,) log-odds; a row alone gets the same bits as among others, summed in the same order."""
        parts = (matrix[i : i + _AT_ONCE] for i in range(0, len(matrix), _AT_ONCE))
        sums = [np.ascontiguousarray(self.terms(part)).sum(axis=1) for part in parts]
        return np.concatenate([np.empty(0), *sums]) + self.intercept

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Read a model from its numbers as JSON holds them."""
        texts = tuple((column, tuple(terms)) for column, terms in fields.get("texts", ()))
        centres, scales, weights = (tuple(fields[name]) for name in ("centres", "scales", "weights"))
        return cls(fields["intercept"], centres, scales, weights, texts)

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.array(self.centres), np.array(self.scales), np.array(self.weights)

    @cached_property
    def _text_table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the text columns and their rows, (t,), and the terms by code, (t, codes + 1), the last of others."""
        longest = max(len(terms) for _, terms in self.texts)
        padded = [[*terms, *[terms[-1]] * (longest - len(terms))] for _, terms in self.texts]
        return np.array([column for column, _ in self.texts]), np.arange(len(padded)), np.array(padded)


def fit_linear(
    matrix: np.ndarray,
    labels: np.ndarray,
    *,
    categorical: Sequence[int] = (),
    directions: Sequence[int] = (),
    offsets: np.ndarray | None = None,
) -> LinearModel:
    """Fit the weights by penalised log-loss.

    Args:
        matrix: (n, features); of very many rows `thin_rows` are learned from.
        labels: (n,) of 0 and 1, both there.
        categorical: Columns that are codes of text, the commonest 0: each of 50 values gets a weight of its own.
        directions: By column, 1 where the log-odds may not fall with it, -1 where they may not rise; none: free.
        offsets: (n,) log-odds to start from, which are no part of the model's own.
    """
    matrix, labels = thin_rows(matrix), thin_rows(labels)
    start = np.full(len(labels), logit(labels.mean())) if offsets is None else thin_rows(offsets)
    indicators = [_Indicators(column, matrix[:, column]) for column in categorical]
    features = matrix.shape[1]
    logs = np.hstack([_compute_logs(matrix), *(i.build_columns(matrix) for i in indicators)])
    logs[:, list(categorical)] = np.nan
    centres, scales = _compute_moments(logs)
    distances = _standardise(logs, centres, scales)
    spans = {0: (None, None), 1: (0.0, None), -1: (None, 0.0)}
    bounds = [spans[d] for d in directions] or [spans[0]] * features
    bounds += [spans[0]] * (logs.shape[1] - features)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights = parameters[1:]
        log_odds = distances @ weights + parameters[0] + start
        residual = (expit(log_odds) - labels) / len(labels)
        value = np.mean(np.logaddexp(0.0, log_odds) - labels * log_odds) + _PENALTY / 2 * weights @ weights
        return float(value), np.concatenate([[residual.sum()], residual @ distances + _PENALTY * weights])

    from scipy.optimize import minimize  # slow to import, and no part of serving

    zeros, free = np.zeros(1 + logs.shape[1]), {"maxiter": 500}
    best = minimize(loss, zeros, jac=True, method="L-BFGS-B", bounds=[spans[0], *bounds], options=free).x
    intercept = best[0] + (start[0] if offsets is None else 0.0)
    weights, texts, first = best[1:], [], features
    for i in indicators:
        own = slice(first, first + i.count)
        # One row for each value, and one that has none of them.
        cases = np.vstack([np.eye(i.count), np.zeros(i.count)])
        terms = _standardise(cases, centres[own], scales[own]) @ weights[own]
        texts.append((i.column, tuple(terms.tolist())))
        first += i.count
    plain = [tuple(values[:features].tolist()) for values in (centres, scales, weights)]
    return LinearModel(float(intercept), plain[0], plain[1], plain[2], tuple(texts))


class _Indicators:
    """Columns of 0 and 1, one for each of the commonest values of a text column.

    Args:
        column: The matrix's column.
        codes: (n,) its values; NaN where missing.
    """

    def __init__(self, column: int, codes: np.ndarray) -> None:
        self.column = column
        self.count = 0 if np.isnan(codes).all() else int(min(np.nanmax(codes) + 1, _MOST_VALUES))

    def build_columns(self, matrix: np.ndarray) -> np.ndarray:
        """Return the columns, (n, count)."""
        return (matrix[:, [self.column]] == np.arange(self.count)).astype("float64")


def thin_rows(rows: np.ndarray) -> np.ndarray:
    """Return all rows; of very many, an even part that is enough for some hundred weights."""
    return rows[:: -(-len(rows) // _MOST_ROWS)]


def _compute_logs(matrix: np.ndarray) -> np.ndarray:
    return np.copysign(np.log1p(np.abs(matrix)), matrix)


def _compute_moments(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of the known values; 0 and 1 where none is known, or all are equal."""
    is_known = ~np.isnan(logs)
    count = np.maximum(is_known.sum(axis=0), 1)
    centres = np.where(is_known, logs, 0.0).sum(axis=0) / count
    scales = np.sqrt(np.where(is_known, (logs - centres) ** 2, 0.0).sum(axis=0) / count)
    return centres, np.where(scales > 1e-9, scales, 1.0)


def _compute_distances(matrix: np.ndarray, centres: np.ndarray, scales: np.ndarray) -> np.ndarray:
    return _standardise(_compute_logs(matrix), centres, scales)


def _standardise(logs: np.ndarray, centres: np.ndarray, scales: np.ndarray) -> np.ndarray:
    distances = np.clip((logs - centres) / scales, -_FURTHEST, _FURTHEST)
    return np.where(np.isnan(distances), 0.0, distances)
