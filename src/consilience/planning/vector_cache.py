"""Vectors of texts, kept beside a store, so that a text is embedded once.

A file is found by a hash of the embedder and of all texts, so that none is ever out of date. It may
be deleted at any time; where it cannot be written, or cannot be read, vectors are made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from consilience.data.whole_file import whole_file
from consilience.planning.embeddings import Embedder, SentenceModel, TfidfSvd, Vectors

WORTH_KEEPING = 5_000
"""Fewer texts than this are placed by their words sooner than a file would be worth."""

ENDING = "-vectors"
"""What the folder of the vectors is called after the store."""


def kept_vectors(
    embedder: Embedder, texts: Sequence[str], store: str | None, *, keep: bool = True
) -> Vectors:
    """The vectors of texts, from beside the file of a `store` if they are there.

    They are kept there, unless the store is in memory (None), or `keep` is false, or nobody can
    say in another process whether it is the same embedder.
    """
    quick = isinstance(embedder, TfidfSvd) and len(texts) < WORTH_KEEPING
    # The usual repr of an object is its address.
    if store is None or quick or " at 0x" in repr(embedder):
        return embedder.embed(texts)
    path = Path(store + ENDING) / f"{_fingerprint(embedder, texts)}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):
        found: Vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        if found.ndim == 2 and len(found) == len(texts) and found.dtype == np.float64:
            return found
    made = embedder.embed(texts)
    if keep:
        # For their owner alone: vectors tell of texts.
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, exist_ok=True)
            with whole_file(path) as file:
                np.save(file, made, allow_pickle=False)
    return made


def _fingerprint(embedder: Embedder, texts: Sequence[str]) -> str:
    told = hashlib.sha256(f"1\n{embedder!r}\n{version('scikit-learn')}\n".encode())
    if isinstance(embedder, SentenceModel) and (folder := Path(embedder.name)).is_dir():
        # Another model may have been put under the same name.
        for file in sorted(folder.rglob("*")):
            about = file.stat()
            told.update(f"{file.name} {about.st_size} {about.st_mtime_ns}\n".encode())
    for text in texts:
        told.update(hashlib.sha256(text.encode()).digest())
    return told.hexdigest()[:32]
