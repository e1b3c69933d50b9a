"""Turn texts into vectors by their words and parts of words: coarse, without any model, and no language meets another.

The model is plain numbers, so that it can be kept and new texts get vectors of the same space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

from features.core.atomic_write import write_atomically
from monitoring.journey.texts.words import space_words

Vectors = npt.NDArray[np.float32]
_BITS, _DIMENSIONS = 15, 96
# Texts that the weights are learned from at most.
_LEARNED = 12_000
# Texts from which on what only one of them has says nothing.
_FEW = 200


@dataclass(frozen=True)
class WordModel:
    """Weights of hashed words and parts of words, and the directions that texts differ in most.

    Args:
        weights: (hashes,) squared logarithm of the inverse document frequency: greetings weigh next to nothing.
        axes: (hashes, dimensions) to multiply weighted counts with.
    """

    weights: Vectors
    axes: Vectors

    @classmethod
    def learn(cls, texts: Sequence[str], *, seed: int = 0) -> Self:
        """Learn from texts; from some of them where they are many.

        Source: latent semantic analysis; Halko, Martinsson and Tropp, SIAM Review 53 (2011), for the decomposition.
        """
        rng = np.random.default_rng(seed)
        few = texts if len(texts) <= _LEARNED else [texts[i] for i in rng.permutation(len(texts))[:_LEARNED]]
        counts = count_hashes(few)
        seen = np.bincount(counts.indices, minlength=counts.shape[1])
        least = 2 if counts.shape[0] >= _FEW else 1
        weights = np.where(seen >= least, np.log((1 + counts.shape[0]) / (1 + seen)) ** 2, 0.0).astype(np.float32)
        weighted = _weigh(counts, weights)
        dimensions = min(_DIMENSIONS, max(1, weighted.shape[0] - 1))
        return cls(weights, _find_axes(weighted, dimensions, rng))

    def apply(self, texts: Sequence[str]) -> Vectors:
        """Return the texts' unit vectors, shape (n, dimensions); of a text without a known word, zeros."""
        chunks = [texts[start : start + 20_000] for start in range(0, len(texts), 20_000)]
        parts = [_weigh(count_hashes(chunk), self.weights) @ self.axes for chunk in chunks]
        return scale_to_units(np.concatenate(parts)) if parts else np.zeros((0, self.axes.shape[1]), np.float32)

    def write(self, file: Path) -> None:
        """Write it as plain arrays."""
        with write_atomically(file) as part, part.open("wb") as stream:
            np.savez_compressed(stream, weights=self.weights, axes=self.axes)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            OSError: It is not there.
        """
        with np.load(file, allow_pickle=False) as arrays:
            return cls(arrays["weights"], arrays["axes"])


def scale_to_units(vectors: npt.NDArray[np.float32]) -> Vectors:
    """Scale each row to length 1; a row of zeros stays."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(length > 0, length, 1)).astype(np.float32)


def count_hashes(texts: Sequence[str]) -> sparse.csr_matrix:
    """Count words, pairs of words and parts of words, each hashed: logarithms of counts, shape (n, 2 ** 15)."""
    from sklearn.feature_extraction.text import HashingVectorizer

    spaced = space_words(texts)
    common = {"n_features": 2**_BITS, "norm": None, "alternate_sign": False, "dtype": np.float32}
    words = HashingVectorizer(tokenizer=str.split, token_pattern=None, ngram_range=(1, 2), **common)
    # Parts of words bear typing errors and endings.
    parts = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 4), **common)
    counts = sparse.csr_matrix(words.transform(spaced) * 2.0 + parts.transform(spaced) * 0.5)
    np.log1p(counts.data, out=counts.data)
    return counts


def _weigh(counts: sparse.csr_matrix, weights: Vectors) -> sparse.csr_matrix:
    weighted = counts.multiply(weights).tocsr()
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    return sparse.diags((1 / np.where(length > 0, length, 1)).astype(np.float32)) @ weighted


def _find_axes(rows: sparse.csr_matrix, dimensions: int, rng: np.random.Generator) -> Vectors:
    """Return the first right singular vectors, by a random projection and two power iterations."""
    projected = rows @ rng.standard_normal((rows.shape[1], dimensions + 10)).astype(np.float32)
    for _ in range(2):
        basis, _ = np.linalg.qr(projected)
        projected = rows @ (rows.T @ basis)
    basis, _ = np.linalg.qr(projected)
    _, _, right = np.linalg.svd((rows.T @ basis).T, full_matrices=False)
    return np.ascontiguousarray(right[:dimensions].T, dtype=np.float32)
