"""Vectors kept beside a store: made once, never those of others, and never in the way."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from consilience.planning import vector_cache
from consilience.planning.embeddings import TfidfSvd, Vectors
from consilience.planning.vector_cache import kept_vectors

TEXTS = [f"The lamp number {i} is lit." for i in range(12)]


@dataclass(frozen=True)
class Lengths:
    """An embedder that counts how often it is asked."""

    name: str = "lengths"
    asked: list[int] = field(default_factory=list, repr=False)

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.asked.append(len(texts))
        return np.array([[len(text), 1.0] for text in texts])


def kept(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.npy"))


def test_the_same_texts_are_embedded_once(tmp_path: Path) -> None:
    store, embedder = str(tmp_path / "s.db"), Lengths()
    first = kept_vectors(embedder, TEXTS, store)
    again = kept_vectors(Lengths(asked=embedder.asked), TEXTS, store)
    assert embedder.asked == [12]
    np.testing.assert_array_equal(first, again)
    (file,) = kept(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("change", ["texts", "order", "embedder", "store"])
def test_other_texts_or_another_embedder_are_embedded_anew(tmp_path: Path, change: str) -> None:
    store, embedder = str(tmp_path / "s.db"), Lengths()
    kept_vectors(embedder, TEXTS, store)
    texts = {"texts": [*TEXTS, "one more"], "order": TEXTS[::-1]}.get(change, TEXTS)
    other = Lengths("other", embedder.asked) if change == "embedder" else embedder
    place = str(tmp_path / "t.db") if change == "store" else store
    found = kept_vectors(other, texts, place)
    np.testing.assert_array_equal(found, Lengths().embed(texts))
    assert len(embedder.asked) == 2


def test_a_file_that_is_damaged_or_cannot_be_written_is_as_none(tmp_path: Path) -> None:
    store, embedder = str(tmp_path / "s.db"), Lengths()
    kept_vectors(embedder, TEXTS, store)
    (file,) = kept(tmp_path)
    for damage in (file.read_bytes()[:40], b"", b"no array"):
        file.write_bytes(damage)
        np.testing.assert_array_equal(kept_vectors(embedder, TEXTS, store), Lengths().embed(TEXTS))
    # Here a file stands where the folder would be.
    (tmp_path / "t.db-vectors").write_text("")
    found = kept_vectors(embedder, TEXTS, str(tmp_path / "t.db"))
    np.testing.assert_array_equal(found, Lengths().embed(TEXTS))


def test_where_nothing_may_be_kept_nothing_is(tmp_path: Path) -> None:
    class Nameless:
        def embed(self, texts: Sequence[str]) -> Vectors:
            return np.ones((len(texts), 1))

    store = str(tmp_path / "s.db")
    kept_vectors(Lengths(), TEXTS, None)
    kept_vectors(Lengths(), TEXTS, store, keep=False)
    kept_vectors(Nameless(), TEXTS, store)
    # So few texts are placed by their words sooner.
    kept_vectors(TfidfSvd(), TEXTS, store)
    assert not list(tmp_path.iterdir())


def test_words_of_many_texts_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_cache, "WORTH_KEEPING", 10)
    store = str(tmp_path / "s.db")
    made = kept_vectors(TfidfSvd(4), TEXTS, store)
    np.testing.assert_array_equal(made, kept_vectors(TfidfSvd(4), TEXTS, store))
    assert len(kept(tmp_path)) == 1
    kept_vectors(TfidfSvd(3), TEXTS, store)
    assert len(kept(tmp_path)) == 2
