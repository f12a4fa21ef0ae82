"""The command line as its user meets it: help, mistakes, what is printed where, resuming."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from command import consilience
from consilience.store.database import Store
from made_up import FILE_OPTIONS, claims, write_csv
from wire_client import KEYS
from wire_model import PseudoModel
from wire_server import serve

SMALL = ["--calls-per-example", 3, "--set", "planning.settled=0", "--set", "planning.shots=4"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in (*KEYS, "OPENAI_BASE_URL", "CONSILIENCE_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_csv(claims(12), tmp_path_factory.mktemp("data") / "claims.csv")


@pytest.fixture(scope="module")
def server():
    with serve("vllm", model=PseudoModel(world=True)) as server:
        yield server


@pytest.fixture(scope="module")
def stored(data, tmp_path_factory):
    """A store with one run of a simulated model, and the labels it printed."""
    path = tmp_path_factory.mktemp("stored") / "s.db"
    return path, consilience(*simulated(data), "--store", path).stdout


def simulated(data, *more):
    return ["run", data, *FILE_OPTIONS, "--model", "simulated:noisy", *SMALL, *more]


def on(server, data, *more):
    words = ["--model", "openai:tiny", "--base-url", server.url]
    return ["run", data, *FILE_OPTIONS, *words, *SMALL, *more]


def the_line(done):
    """The one line of a mistake: no traceback, no data."""
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


# ---- help --------------------------------------------------------------------------------------


def test_help_loads_nothing_heavy():
    heavy = ("torch", "datasets", "pandas", "sklearn", "scipy", "numpy", "httpx2", "pyarrow")
    code = (
        "import sys, consilience\n"
        "first = set(sys.modules)\n"
        "from consilience.cli import main\n"
        "sys.argv = ['consilience', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([[m for m in {heavy} if m in loaded] for loaded in (first, sys.modules)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[[], []]"


def test_the_module_is_the_command():
    words = [sys.executable, "-m", "consilience"]
    done = subprocess.run([*words, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("consilience, version ")
    done = subprocess.run([*words, "run"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "consilience run: Missing argument 'TASK|DATA'. (see `consilience run --help`)\n"
    )


def test_without_a_command_the_help_is_shown():
    for words in ([], ["store"], ["datasets"]):
        done = consilience(*words, code=2)
        assert done.stdout == ""
        assert "Commands:" in done.stderr


# ---- stdout and stderr -------------------------------------------------------------------------


def test_json_stands_alone_on_stdout(server, data, stored):
    store = stored[0]
    id = stored[1].splitlines()[1].split(",")[0]
    for words in (
        ["datasets", "list"],
        ["datasets", "show", data, *FILE_OPTIONS],
        ["probe", server.url, "--model", "tiny"],
        simulated(data),
        simulated(data, "--dry-run"),
        simulated(data, "--label", "truth", "--output", "labels.csv"),
        ["plan", *simulated(data)[1:], "--set", "budget.price=2"],
        ["solve", "--store", store],
        ["evaluate", data, *FILE_OPTIONS, "--label", "truth", "--store", store],
        ["explain", id, "--store", store],
        ["store", "stats", store],
        ["store", "runs", store],
    ):
        assert json.loads(consilience(*words, "--json").stdout)
        assert consilience(*words).stdout


RESULTS = ["label", "probability", "uncertainty", "open"]


def test_labels_are_one_row_per_example(stored):
    header, *rows = stored[1].splitlines()
    own = ["row", "question", "claim", "truth"]
    assert header.replace('"', "").split(",") == [*own, *RESULTS]
    assert len(rows) == 12
    again = json.loads(consilience("solve", "--store", stored[0], "--json").stdout)
    assert [row["row"] for row in again] == [int(row.split(",")[0]) for row in rows]
    assert list(again[0]) == [*own, *RESULTS]
    known = [{key: row[key] for key in ("question", "claim", "truth")} for row in again]
    assert known == claims(12)
    detailed = json.loads(consilience("solve", "--store", stored[0], "--json", "--details").stdout)
    assert list(detailed[0]) == [
        *(*own, *RESULTS, "epistemic", "aleatoric", "structural", "predictions"),
        *("p_False", "p_True", "example"),
    ]


def test_scores_take_the_place_of_labels_where_there_is_gold(data):
    done = consilience(*simulated(data, "--label", "truth"))
    assert done.stdout.startswith("method ")
    both = consilience(*simulated(data, "--label", "truth", "--output", "x.jsonl"))
    assert both.stdout == done.stdout
    assert "12 rows written to x.jsonl" in both.stderr
    assert len(Path("x.jsonl").read_text().splitlines()) == 12


def test_talk_says_that_simulated_labels_mean_nothing_on_real_texts(data):
    assert "these labels mean nothing" in consilience(*simulated(data)).stderr
    done = consilience(
        "run", "easy", "--set", "data.groups=40", "--model", "simulated:easy", *SMALL
    )
    assert "mean nothing" not in done.stderr


def test_datasets_show_prints_the_prompts_of_a_file(data):
    shown = consilience("datasets", "show", data, *FILE_OPTIONS, "--examples", 2)
    assert shown.stdout.count("── ") == 4
    assert "Answer with one of: False, True." in shown.stdout
    assert "truth" not in shown.stdout
    assert "12 examples" in shown.stderr


def test_the_demo_compares_the_methods():
    done = consilience("demo", "--examples", 40, "--calls-per-example", 3, "--world", "easy")
    methods = [line.split("  ")[0] for line in done.stdout.splitlines()[1:9]]
    assert methods[-2:] == ["golden shots (ceiling)", "consilience"]
    assert "asking simulated:easy, 120 calls for each method" in done.stderr
    assert "bootstrap, round 0: 80 queries" in done.stderr
    assert list(Path().iterdir()) == []
    assert "the worlds are: easy" in the_line(consilience("demo", "--world", "flat", code=2))


def test_the_demo_draws_its_accuracies(tmp_path):
    plot = tmp_path / "demo.svg"
    small = ("--examples", 24, "--calls-per-example", 3, "--world", "easy")
    done = consilience("demo", *small, "--plot", plot)
    assert f"drew {plot}" in done.stderr
    words = plot.read_text("utf-8")
    assert "<!-- consilience (3) -->" in words and "<!-- majority (0) -->" in words
    refused = consilience("demo", *small, "--plot", tmp_path / "demo.txt", code=2)
    assert "is no picture" in the_line(refused) and "asking" not in refused.stderr


# ---- the store, stop and resume ----------------------------------------------------------------


def test_what_was_paid_for_is_kept_and_what_was_simulated_is_not(server, data):
    done = consilience(*simulated(data))
    assert "not kept" in done.stderr
    assert list(Path().iterdir()) == []
    first = consilience(*on(server, data))
    assert "kept in consilience.db" in first.stderr
    assert [path.name for path in Path().glob("*.db")] == ["consilience.db"]
    before = len(server.requests)
    again = consilience(*on(server, data))
    assert len(server.requests) == before
    assert again.stdout == first.stdout == consilience("solve").stdout


def test_a_dry_run_sends_nothing_and_leaves_nothing(server, data):
    before = len(server.requests)
    words = on(server, data, "--set", "budget.price=2.0")
    for dry in ([*words, "--dry-run"], ["plan", *words[1:]]):
        cost = json.loads(consilience(*dry, "--json").stdout)
        assert (cost["calls"], cost["known"]) == (36, 0)
        assert cost["money"] == pytest.approx((cost["prompt_tokens"] + 36) * 2e-6)
    assert len(server.requests) == before
    assert list(Path().iterdir()) == []
    consilience(*words)
    cost = json.loads(consilience(*words, "--dry-run", "--json").stdout)
    assert (cost["calls"], cost["known"]) == (0, 36)
    assert [cost[name] for name in ("requests", "prompt_tokens", "output_tokens", "money")] == [
        0
    ] * 4
    assert "spend: nothing; the store has the answers to all 36 calls" in consilience(*words).stderr


def test_the_address_may_come_from_the_environment(server, data, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    words = ["run", data, *FILE_OPTIONS, *SMALL, "--dry-run", "--json"]
    asked = consilience(*words, "--model", "openai:tiny")
    assert json.loads(asked.stdout)["calls"] == 36
    # It is no mistake of somebody who runs a simulated model.
    assert json.loads(consilience(*words, "--model", "simulated:noisy").stdout)["calls"] == 36


def test_another_endpoint_does_not_change_what_the_first_run_goes_on_with(server, data):
    first = consilience(*on(server, data))
    consilience(*on(server, data, "--set", "model.api=chat"))
    with Store("consilience.db", readonly=True) as db:
        assert {run.model_settings["api"] for run in db.runs()} == {"completions", "chat"}
        predictions = db.stats().models[0].predictions
    for options in ([], ["--set", "model.api=completions"], ["--set", "model.api=chat"]):
        again = consilience(*on(server, data, *options))
        assert "0 calls made" in again.stderr
    assert consilience(*on(server, data)).stdout == first.stdout
    with Store("consilience.db", readonly=True) as db:
        assert db.stats().models[0].predictions == predictions


def test_interrupted_by_the_user_it_says_so_and_goes_on_later(data):
    with serve("vllm", model=PseudoModel(world=True), delay=0.02) as server:
        words = on(server, data, "--set", "model.concurrency=2")
        consilience("plan", *on(server, data)[1:], "--output", "first.jsonl")
        at = len(server.questions)

        def press_ctrl_c():
            give_up = time.monotonic() + 30
            while len(server.questions) < at + 10 and time.monotonic() < give_up:
                time.sleep(0.005)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=press_ctrl_c)
        thread.start()
        done = consilience(*words, code=1)
        thread.join()
        assert done.stdout == ""
        assert done.stderr.splitlines()[-1].startswith("consilience: interrupted; what is in a ")
        assert "Traceback" not in done.stderr
        with Store("consilience.db", readonly=True) as db:
            kept = db.run().answered
            assert db.verify() == []
        assert 8 <= kept <= 12
        before = len(server.questions)
        server.delay = 0
        resumed = consilience(*words)
        assert len(server.questions) == before + 36 - kept
    assert "36 count, 0 absent" in resumed.stderr


def test_transport_options_change_no_label(server, data):
    first = consilience(*on(server, data))
    before = len(server.requests)
    more = [
        "--set",
        "model.concurrency=1",
        "--set",
        "model.timeout=50",
        "--set",
        "model.retries=1",
        "--set",
        "model.rate=6e4",
        "--set",
        "budget.price=3",
    ]
    assert consilience(*on(server, data, *more)).stdout == first.stdout
    assert len(server.requests) == before


def test_a_store_goes_through_export_and_import(stored, tmp_path):
    store, copy, lines = stored[0], tmp_path / "copy.db", tmp_path / "s.jsonl"
    consilience("store", "export", store, lines)
    added = consilience("store", "import", copy, lines)
    assert f"{len(lines.read_text().splitlines())} new rows" in added.stderr
    assert "0 new rows" in consilience("store", "import", copy, lines).stderr
    assert consilience("store", "verify", copy).stdout == ""
    assert consilience("solve", "--store", copy).stdout == stored[1]
    consilience("store", "export", copy, tmp_path / "again.jsonl")
    assert sorted((tmp_path / "again.jsonl").read_text().splitlines()) == sorted(
        lines.read_text().splitlines()
    )
    assert "cannot import" in the_line(consilience("store", "import", copy, "none", code=1))


def test_a_prediction_is_shown_in_full(stored):
    with Store(stored[0], readonly=True) as db:
        key = db.rounds(db.run().id)[0][0][0]
    shown = json.loads(consilience("store", "show", stored[0], key).stdout)
    assert shown["key"] == key
    assert shown["prompt"].startswith("Is the claim true or false?")
    assert "has no prediction x" in the_line(consilience("store", "show", stored[0], "x", code=1))


# ---- gold --------------------------------------------------------------------------------------


def test_a_sampled_run_is_scored_by_the_ids(tmp_path):
    data = write_csv(claims(40), tmp_path / "claims.csv")
    gold = ["--label", "truth"]
    scored = consilience(
        *simulated(data, "--set", "data.groups=7", "--seed", 3, "--store", "s.db", *gold)
    )
    rows = claims(40)
    write_csv(rows[::-1], tmp_path / "backwards.csv")
    for name in ("claims.csv", "backwards.csv"):
        again = consilience("evaluate", name, *FILE_OPTIONS, *gold, "--store", "s.db")
        assert again.stdout == scored.stdout
    # By hand: the labels against the rows with the same text.
    truth = {f"{row['question']} {row['claim']}": row["truth"] for row in rows}
    labels = json.loads(consilience("solve", "--store", "s.db", "--json").stdout)
    right = [truth[f"{row['question']} {row['claim']}"] == row["label"] for row in labels]
    table = consilience("evaluate", name, *FILE_OPTIONS, *gold, "--store", "s.db", "--json").stdout
    assert len(right) == 14
    assert json.loads(table)[-1]["accuracy"] == pytest.approx(sum(right) / 14)


def test_a_world_is_scored_without_being_named():
    run = [
        "run",
        "easy",
        "--set",
        "data.groups=30",
        "--seed",
        2,
        "--model",
        "simulated:easy",
        *SMALL,
    ]
    scored = consilience(*run, "--store", "s.db")
    assert consilience("evaluate", "--store", "s.db").stdout == scored.stdout


def test_gold_that_cannot_be_found(data, stored, tmp_path):
    line = the_line(consilience("evaluate", "--store", stored[0], code=2))
    assert "labelled the file 'claims'; name it" in line
    line = the_line(consilience("evaluate", data, *FILE_OPTIONS, "--store", stored[0], code=2))
    assert "has no gold; name its column with --label" in line
    other = write_csv(claims(6, seed=5), tmp_path / "other.csv")
    words = ["evaluate", other, *FILE_OPTIONS, "--label", "truth", "--store", stored[0]]
    assert "gold has no label for any of the 12" in the_line(consilience(*words, code=2))


def test_gold_for_none_of_the_sample_stops_nothing(tmp_path):
    rows = [row | {"truth": row["truth"] if i < 2 else ""} for i, row in enumerate(claims(12))]
    data = write_csv(rows, tmp_path / "claims.csv")
    for seed in range(9):
        done = consilience(
            *simulated(data, "--label", "truth", "--set", "data.groups=1", "--seed", seed)
        )
        if "nothing will be scored" in done.stderr:
            assert done.stdout.startswith('"row","question"')
            return
    pytest.fail("every sample had gold")


# ---- step by step ------------------------------------------------------------------------------


def by_hand(words, store):
    """The loop of `run`, one command at a time; the number of rounds."""
    model = [*words[words.index("--model") :][:2]]
    if "--base-url" in words:
        model += words[words.index("--base-url") :][:2]
    for round in range(20):
        planned = consilience("plan", *words[1:], "--store", store, "--output", f"{round}.jsonl")
        if "nothing is left to ask" in planned.stderr:
            return round
        assert f"round {round}: " in planned.stderr
        left = json.loads(
            consilience("ask", f"{round}.jsonl", *model, "--dry-run", "--json").stdout
        )
        asked = json.loads(consilience("ask", f"{round}.jsonl", *model, "--json").stdout)
        assert asked["calls"] == left["calls"] > 0
        assert asked["failed"] == 0
    raise AssertionError("it does not end")


def test_plan_ask_solve_by_hand_give_the_labels_of_a_run(server, data):
    more = ["--calls-per-example", 5, "--seed", 4, "--set", "planning.contrasts=0.3"]
    for words in (on(server, data, *more), simulated(data, *more)):
        name = "a" if words[0] == "run" and "--base-url" in words else "b"
        whole = consilience(*words, "--store", f"{name} whole.db")
        rounds = by_hand(words, f"{name} hand.db")
        with Store(f"{name} whole.db") as one, Store(f"{name} hand.db") as other:
            assert one.run().rounds == rounds > 2
            assert one.rounds(one.run().id) == other.rounds(other.run().id)
            assert one.run().id == other.run().id
        assert consilience("solve", "--store", f"{name} hand.db").stdout == whole.stdout


def test_a_plan_for_ask_must_fit(server, data):
    words = on(server, data)
    line = the_line(consilience("plan", *simulated(data)[1:], "--output", "p.jsonl", code=2))
    assert "needs a --store" in line
    line = the_line(consilience("plan", *words[1:], "--output", "no/p.jsonl", code=2))
    assert "cannot write no/p.jsonl" in line
    consilience("plan", *words[1:], "--output", "p.jsonl")
    before = len(server.requests)
    model = ["--model", "openai:tiny", "--base-url", server.url]
    line = the_line(consilience("ask", "p.jsonl", *model, "--set", "model.top_logprobs=5", code=2))
    assert "was planned for another model or other sampling settings" in line
    whole = Path("p.jsonl").read_text()
    for broken in ("", "x", "{}\n{}", whole[:-20], whole.replace("names-", "verse"), "[1]\n[2]"):
        Path("broken.jsonl").write_text(broken)
        assert "plan" in the_line(consilience("ask", "broken.jsonl", *model, code=2))
    Path("binary.jsonl").write_bytes(b"\xff\xfe")
    assert "is not a plan" in the_line(consilience("ask", "binary.jsonl", *model, code=2))
    line = the_line(consilience("ask", "p.jsonl", *model, "--store", "other.db", code=2))
    assert "there is no store other.db" in line
    assert "does not exist" in the_line(consilience("ask", "none.jsonl", *model, code=2))
    assert len(server.requests) == before
