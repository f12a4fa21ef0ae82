"""Tables as LibreOffice opens them: every text is kept, and no formula runs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from openpyxl import load_workbook

import consilience as cs
from consilience.data.guard import guarded
from consilience.elicitation.settings import Settings

SOFFICE = shutil.which("soffice") or shutil.which("libreoffice")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(SOFFICE is None, reason="LibreOffice (soffice) is not installed"),
]

QUOTED_IS_TEXT = "Text - txt - csv (StarCalc):44,34,76,1,,0,true,false"
"""What its import window asks: comma, double quote, UTF-8, "format quoted field as text"."""

WORDS = (
    *("NA", "N/A", "None", "null", "nan", "007", "001", "1e5", "True", "FALSE", "-", "#N/A"),
    *("=1+1", '=HYPERLINK("http://x.example","y")', "@x", "+1", "-2+3", "'quoted", "'"),
    *("2026-01-02", "1/2", "1,5", "50%", "12345678901234567890", "  kept  ", 'say "hi"', "a\tb"),
    *("two\nlines", "é", "مرحبا، كيف الحال؟", "👩‍👩‍👧 🇩🇪", "<b>&amp;</b>", "_x0041_"),
)
ROWS = [
    {"id": f"{i:03}", "text": f"{word} #{i}", "group": f"0{i % 3}", "cell": word}
    for i, word in enumerate(WORDS)
]
PAGE = Path(__file__).parents[2] / "docs" / "datasets" / "your-own.md"
TEXTS = ["id", "text", "group", "cell", "label"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, dict[str, Path]]:
    """A labelled table, and by format what LibreOffice made of its files: workbooks of its own."""
    assert SOFFICE is not None and QUOTED_IS_TEXT in PAGE.read_text("utf-8")
    folder = tmp_path_factory.mktemp("office")
    task = cs.Task("Is there anything?", ("None", "N/A"))
    data = cs.Dataset.from_records(ROWS, text="text", id="id", group="group", task=task)
    settings = Settings(calls_per_example=2.0)
    found = cs.elicit(data, cs.open_model("simulated:easy"), settings=settings)
    made = {}
    for kind, how in (("xlsx", []), ("csv", [f"--infilter={QUOTED_IS_TEXT}"])):
        found.export(folder / f"a.{kind}")
        profile = f"-env:UserInstallation=file://{folder / 'profile'}"
        into = ["--convert-to", "xlsx", "--outdir", str(folder / kind), str(folder / f"a.{kind}")]
        subprocess.run(
            [SOFFICE, profile, "--headless", "--norestore", *how, *into],
            check=True,
            capture_output=True,
            timeout=120,
        )
        made[kind] = folder / kind / "a.xlsx"
    return found.table(), made


def cells(path: Path, *, formulas: bool = True) -> list[dict[str, Any]]:
    """The rows of a workbook, each cell as its value and type; formulas, or what they gave."""
    header, *rows = load_workbook(path, data_only=not formulas).worksheets[0].iter_rows()
    names = [cell.value for cell in header]
    return [
        {name: (cell.value, cell.data_type) for name, cell in zip(names, row, strict=True)}
        for row in rows
    ]


@pytest.mark.parametrize("kind", ["xlsx", "csv"])
def test_every_text_is_a_text_and_no_formula_runs(
    kind: str, tables: tuple[pd.DataFrame, dict[str, Path]]
) -> None:
    table, made = tables
    back = cells(made[kind])
    assert set(table["label"]) == {"None", "N/A"}
    assert list(back[0]) == list(table.columns) and len(back) == len(table)
    for name in TEXTS:
        own = [guarded(text) if kind == "csv" else text for text in table[name]]
        assert [row[name] for row in back] == [(text, "s") for text in own]


@pytest.mark.parametrize("kind", ["xlsx", "csv"])
def test_numbers_keep_fifteen_digits(
    kind: str, tables: tuple[pd.DataFrame, dict[str, Path]]
) -> None:
    table, made = tables
    for row, own in zip(cells(made[kind], formulas=False), table.to_dict("records"), strict=True):
        assert row["probability"] == (pytest.approx(own["probability"], rel=1e-14), "n")
        assert row["uncertainty"] == (pytest.approx(own["uncertainty"], rel=1e-14), "n")
        # LibreOffice takes the word of a CSV for a text; a workbook has truth values.
        said = str(own["open"]).lower() if kind == "csv" else own["open"]
        assert row["open"][0] == said
