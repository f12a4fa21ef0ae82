"""`report` on the command line: a page of a run, with gold or without, and what is refused."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_light_start import HEAVY, started

from command import consilience
from describing import Sorter, honest, told
from made_up import FILE_OPTIONS, TASK_OPTIONS, claims, write_csv
from wire_server import MODEL, serve


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("run")
    write_csv(claims(24), made / "claims.csv")
    words = ["run", made / "claims.csv", *FILE_OPTIONS, "--model", "simulated:easy"]
    consilience(
        *words, "--set", "planning.shots=4", "--calls-per-example", 3, "--store", made / "s.db"
    )
    return made


def test_a_page_of_a_run_with_its_gold_and_without(folder: Path) -> None:
    page = folder / "one.html"
    done = consilience("report", "--store", folder / "s.db", "--output", page)
    assert done.stdout == ""
    assert f"24 examples on a page of 0.1 MB, {page}" in done.stderr
    plain = page.read_text("utf-8")
    assert "Methods side by side" not in plain
    words = ["report", folder / "claims.csv", "--text", "{question} {claim}", "--label", "truth"]
    consilience(
        *words, "--set", "data.group=question", "--store", folder / "s.db", "--output", page
    )
    scored = page.read_text("utf-8")
    assert "Methods side by side" in scored
    assert '"gold":' in scored
    table = consilience(
        "evaluate", *words[1:], "--set", "data.group=question", "--store", folder / "s.db"
    )
    accuracy = next(line for line in table.stdout.splitlines() if line.startswith("consilience"))
    assert accuracy.split()[1] in scored


def test_a_page_says_whether_the_labels_had_settled(tmp_path: Path) -> None:
    write_csv(claims(24), tmp_path / "claims.csv")
    store, page = tmp_path / "s.db", tmp_path / "s.html"
    words = [tmp_path / "claims.csv", *FILE_OPTIONS, "--model", "simulated:easy", "--store", store]
    words += ["--set", "planning.shots=4", "--calls-per-example", 12]
    for number in range(2):
        plan = tmp_path / f"{number}.jsonl"
        consilience("plan", *words, "--output", plan)
        consilience("ask", plan, "--model", "simulated:easy", "--store", store)
    consilience("report", "--store", store)
    assert "of 288 calls were asked so far; the same `run` goes on." in page.read_text("utf-8")
    done = consilience("run", *words)
    consilience("report", "--store", store)
    ended = re.findall("the labels had settled, and ([0-9]+) calls were saved", page.read_text())
    assert ended and f"the labels had settled, {ended[0]} calls were saved" in done.stderr


def test_what_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused = {
        "report --output page.pdf": "has to end in .html",
        "report --output no/page.html": "there is no folder no",
    }
    for words, (code, loaded, talk) in zip(refused, started(*refused), strict=True):
        assert (code, refused[words] in talk) == (2, True), talk
        assert loaded.isdisjoint(HEAVY)


def test_the_models_own_words_are_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    data = write_csv(told(), tmp_path / "claims.csv")
    words = tmp_path / "words.json"
    with serve("vllm", model=Sorter(True), writes=honest) as server:
        model = ["--model", f"openai:{MODEL}", "--base-url", server.url, "--store", "s.db"]
        shape = ["--text", "{claim}", "--set", "data.group=about", *TASK_OPTIONS]
        consilience(
            "run", data, *shape, *model, "--calls-per-example", 3, "--set", "planning.settled=0"
        )
        small = ("orders=2", "typical=4", "check=6")
        few = [word for one in small for word in ("--set", f"describing.{one}")]
        words.write_text(consilience("describe", *model, *few, "--json").stdout, "utf-8")
    consilience("report", "--store", "s.db", "--output", "page.html", "--words", words)
    (labelling,) = json.loads(words.read_text("utf-8"))["labellings"]
    page = Path("page.html").read_text("utf-8")
    assert len(labelling["descriptions"]) == 2
    for description in labelling["descriptions"]:
        assert html.escape(description["text"], quote=True).replace("&#x27;", "&#39;") in page
    assert page.count("reproduces 100% of the labels of 6 typical examples not shown") == 2

    def refused() -> str:
        made = ["report", "--store", "s.db", "--output", "page.html", "--words", words]
        return consilience(*made, code=2).stderr

    words.write_text(words.read_text("utf-8").replace('"run": "', '"run": "0'), "utf-8")
    assert "is about run 0" in refused()
    words.write_text("[1, 2]", "utf-8")
    assert "is not what `consilience describe --json` prints" in refused()
    words.unlink()
    assert "cannot read" in refused()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Within the block no file can grow beyond so many bytes, as on a disk that is full."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_page_or_a_task_file_that_has_no_room_is_one_line_and_no_half_a_file(
    folder: Path, tmp_path: Path
) -> None:
    page, table = tmp_path / "page.html", write_csv(claims(3), tmp_path / "claims.csv")
    with files_of_at_most(48_000):
        done = consilience("report", "--store", folder / "s.db", "--output", page, code=2)
    assert done.stderr == f"consilience: cannot write {page}: File too large\n"
    with files_of_at_most(500):
        done = consilience("init", table, code=2)
    assert f"cannot write {table.with_suffix('.toml')}: File too large" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["claims.csv"]
