"""What libraries, servers and files say reaches a terminal as one harmless line, never raw."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path

import pytest
from rich.cells import cell_len

from command import consilience
from consilience.cli.harmless import ACTING
from consilience.cli.output import cell
from consilience.models.served import OtherModel, Watch
from hostile_replies import ESCAPES
from made_up import TASK_OPTIONS
from odd_server import said, serve_odd

NASTY = f"a\nb\r{ESCAPES}"


def test_what_a_library_logs_or_warns_of_is_a_harmless_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def noisy(*given: object, **more: object) -> str:
        logging.getLogger("someone.else").warning("it says %s", NASTY)
        logging.getLogger("someone.else").info("not this")
        logging.getLogger("consilience.models").warning("a log that nobody asked for")
        warnings.warn(f"mind {NASTY}", UserWarning, stacklevel=1)
        raise ValueError(NASTY)

    monkeypatch.setattr("consilience.models.listing.only_model", noisy)
    before = logging.getLogger().handlers[:]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        shown = warnings.showwarning
        done = consilience("probe", "http://127.0.0.1:9", code=1)
        assert warnings.showwarning is shown
    log, warning, error = done.stderr.splitlines()
    assert log.startswith("someone.else: it says a b ")
    assert warning.startswith("UserWarning: mind a b ")
    assert error.startswith("consilience: ValueError: a b ")
    assert not ACTING.search(done.stderr)
    assert logging.getLogger().handlers == before


@pytest.mark.parametrize("value", [NASTY, "tab\tnext", "\u2028\x85\x0b"])
def test_a_cell_of_a_table_is_one_line(value: str) -> None:
    shown = cell(value)
    assert shown.isprintable() and len(shown.splitlines()) == 1
    assert cell_len(shown) == len(shown)


def test_names_that_a_server_gives_are_short_and_quoted() -> None:
    watch = Watch("tiny")
    long = NASTY + "m" * 10_000
    watch.check({"choices": [], "model": "one", "system_fingerprint": "first"})
    note = watch.check({"choices": [], "model": "one", "system_fingerprint": long})
    assert note is not None and note.isprintable() and len(note) < 600
    with pytest.raises(OtherModel) as caught:
        watch.check({"choices": [], "model": long})
    assert str(caught.value).isprintable() and len(str(caught.value)) < 800


def test_a_list_of_models_is_shown_in_a_line() -> None:
    names = [{"id": NASTY + "m" * 10_000}, {"id": "other"}]
    with serve_odd(lambda r, b, t: said(200, {"data": names}) if not t else None) as server:
        done = consilience("probe", server.url, code=2)
    [line] = done.stderr.splitlines()
    assert len(line) < 1_000 and not ACTING.search(line)


def test_a_plan_may_hold_texts_with_any_line_break(tmp_path: Path) -> None:
    texts = ["one\u2028half", "two\x85halves", "three\x0bparts", "four\u2029more", "a plain one"]
    table, store, plan = tmp_path / "t.jsonl", tmp_path / "s.db", tmp_path / "plan.jsonl"
    table.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    with serve_odd(lambda request, body, text: None) as server:
        model = ["--model", "openai:tiny", "--base-url", server.url, "--store", store]
        consilience("plan", table, *TASK_OPTIONS, *model, "--output", plan)
        asked = json.loads(consilience("ask", plan, *model, "--json").stdout)
    planned = plan.read_text("utf-8").count("\n") - 1
    assert asked["calls"] == planned >= len(texts) and asked["failed"] == 0
