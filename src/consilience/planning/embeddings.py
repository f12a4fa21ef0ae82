"""Texts to vectors: TF-IDF and SVD by default, a sentence model or an embeddings endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from consilience.errors import InputError, MissingExtra
from consilience.models.event_loop import run

Vectors = NDArray[np.float64]
"""Embeddings of unit length, shape (texts, dimensions)."""


class Embedder(Protocol):
    """Anything that turns texts into vectors."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One row per text."""
        ...


VOCABULARY = 50_000
"""So many words and pairs of words, the most frequent ones, are looked at."""

FITTED = 20_000
"""What the dimensions are is learned from so many texts; others are only placed in them."""

AT_ONCE = 10_000
"""So many texts are placed at once."""


@dataclass(frozen=True, slots=True)
class TfidfSvd:
    """Words and word pairs weighted by TF-IDF, reduced by SVD; needs no download.

    The memory that it takes beside the vectors does not grow with the number of texts.
    """

    dimensions: int = 64

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of at most `dimensions`; zero where the dimensions say nothing of a text."""
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        if not any(text.split() for text in texts):
            return np.zeros((len(texts), 1))
        # Tokens are what stands between spaces: it works for scripts without word characters.
        vectorizer = TfidfVectorizer(
            ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+", max_features=VOCABULARY
        )
        sample = texts
        if len(texts) > FITTED:
            wordy = [text for text in texts if text.split()]
            sample = wordy[:: -(-len(wordy) // FITTED)]
        weights = vectorizer.fit_transform(sample)
        dimensions = min(self.dimensions, min(weights.shape) - 1)
        if dimensions < 1:
            return _unit(weights.toarray())
        # Texts that differ in case only are rows with no variance, of which a share is asked for.
        svd = TruncatedSVD(dimensions, random_state=0)
        with np.errstate(invalid="ignore"):
            placed = svd.fit_transform(weights)
        if sample is texts:
            return _unit(placed)
        made = np.empty((len(texts), dimensions))
        for at in range(0, len(texts), AT_ONCE):
            part = texts[at : at + AT_ONCE]
            made[at : at + AT_ONCE] = _unit(svd.transform(vectorizer.transform(part)))
        return made


class SentenceModel:
    """A sentence-transformers model from a folder or the hub; needs the extra `embed`."""

    def __init__(self, name: str) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingExtra("a sentence model", "embed") from error
        self.name = name
        self._model = SentenceTransformer(name)

    def __repr__(self) -> str:
        return f"SentenceModel({self.name!r})"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors from the model."""
        return _unit(self._model.encode(list(texts), convert_to_numpy=True))


@dataclass(frozen=True, slots=True)
class EndpointEmbedder:
    """The `/v1/embeddings` endpoint of an OpenAI-compatible server.

    Its API key is in the environment variable `key`, else in that of its host. `options` are those
    of `Server`: how it is reached, which changes no vector.
    """

    name: str
    base_url: str = field(repr=False)
    key: str = field(default="CONSILIENCE_API_KEY", repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors from the server; ModelError in one line."""
        from consilience.models.embeddings import fetch_embeddings

        fetched = fetch_embeddings(self.base_url, self.name, texts, key=self.key, **self.options)
        return _unit(np.array(run(fetched)))


def open_embedder(name: str = "tfidf", base_url: str | None = None) -> Embedder:
    """The embedder of that name: ``tfidf``, ``local:FOLDER_OR_HUB_ID`` or ``openai:NAME``."""
    kind, _, rest = name.partition(":")
    if name == "tfidf":
        return TfidfSvd()
    if kind == "local" and rest:
        return SentenceModel(rest)
    if kind == "openai" and rest:
        if base_url is None:
            raise InputError(f"the embeddings of {name!r} need a base URL")
        return EndpointEmbedder(rest, base_url)
    raise InputError(f"no embedder {name!r}; use tfidf, local:FOLDER or openai:NAME")


def _unit(vectors: NDArray[np.floating]) -> Vectors:
    wide = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    # What is left of a text by rounding alone has no direction.
    empty = norms < 1e-9
    return np.asarray(np.where(empty, 0.0, wide / np.where(empty, 1.0, norms)), dtype=np.float64)
