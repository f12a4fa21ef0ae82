"""A run whose answers come as files: `plan --batch`, a Batch API, `store ingest`, and again."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from batch_api import submit
from command import consilience
from consilience.store import batch_files
from consilience.store.database import Store
from made_up import FILE_OPTIONS, claims, write_csv
from wire_model import PseudoModel
from wire_server import DIALECTS, serve

WORLD = PseudoModel(world=True)
KEY = "sk-a-key-that-nobody-may-see"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_csv(claims(12), tmp_path_factory.mktemp("data") / "claims.csv")


def options(data, server, store, *more):
    model = ["--model", "openai:tiny", "--base-url", server.url, "--store", store]
    small = ["--calls-per-example", 3, "--set", "planning.settled=0", "--set", "planning.shots=4"]
    return [data, *FILE_OPTIONS, *model, *small, *more]


def plan(words, file="round.jsonl"):
    """The next batch: what `plan --batch` says of it."""
    return json.loads(consilience("plan", *words, "--batch", file, "--json").stdout)


def taken_in(store, *files, more=()):
    return json.loads(
        consilience("store", "ingest", *files, "--store", store, *more, "--json").stdout
    )


def by_files(words, server, store, change=lambda line: line, key=None):
    """The whole loop; the number of batch_files."""
    for number in range(20):
        planned = plan(words)
        if not planned["pending"]:
            assert planned["files"] == []
            return number
        assert planned["files"] == ["round.jsonl"]
        lines = Path("round.jsonl").read_text("utf-8")
        assert lines.count("\n") == planned["pending"]
        assert KEY not in lines
        submit(Path("round.jsonl"), server.url, Path("out.jsonl"), change, key)
        found = taken_in(store, "out.jsonl")
        assert found["lines"] == planned["pending"]
    raise AssertionError("it does not end")


def kept(store):
    """Every prediction of a store by its key, but for what a clock says."""
    with Store(store, readonly=True) as db:
        assert db.verify() == []
        rounds = db.rounds(db.run().id)
        found = db.predictions([key for rows in rounds for key, _ in rows])
    usage = {"prompt_tokens_details": {}}  # what a cache served
    return rounds, [p and replace(p, seconds=0.0, usage={**p.usage, **usage}) for p in found]


def raw(store):
    with Store(store, readonly=True) as db:
        return [(row["key"], row["settings"]) for row in db._rows("SELECT * FROM predictions")]


# What needs one request for a prediction, by its token's id or in the list; and what needs more,
# because a label that is not in the list is forced.
DIALECT = {
    "openai-chat": (DIALECTS["openai-chat"], []),
    "vllm": (DIALECTS["vllm"], ["--set", "model.api=chat"]),
    "completions": (DIALECTS["vllm"], []),
    "forced": (replace(DIALECTS["vllm"], label_ids=False), ["--set", "model.top_logprobs=2"]),
}


SLOW = ("vllm", "completions")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in DIALECT]
)
def test_the_predictions_and_labels_are_those_of_a_live_run(name, data, monkeypatch):
    dialect, more = DIALECT[name]
    monkeypatch.setenv("CONSILIENCE_API_KEY", KEY)
    # Two servers, because what is drawn, and so listed beside the likeliest, changes each time.
    with serve(dialect, model=WORLD, key=KEY) as server:
        live = consilience("run", *options(data, server, "live.db", *more))
    with serve(dialect, model=WORLD, key=KEY) as server:
        words = options(data, server, "files.db", *more)
        batches_made = by_files(words, server, "files.db", key=KEY)
        rounds, answers = kept("live.db")
        assert kept("files.db") == (rounds, answers)
        assert None not in answers
        assert batches_made > len(rounds) if name == "forced" else batches_made == len(rounds)
        assert sorted(raw("live.db")) == sorted(raw("files.db"))
        solved = consilience("solve", "--store", "files.db")
        assert solved.stdout == live.stdout
        asked = len(server.questions)
        again = consilience("run", *words)
        assert again.stdout == live.stdout
        assert len(server.questions) == asked


def test_run_goes_on_live_where_the_files_end(data):
    with serve("openai-chat", model=WORLD) as server:
        live = consilience("run", *options(data, server, "live.db"))
        words = options(data, server, "files.db")
        first = plan(words)
        submit(Path("round.jsonl"), server.url, Path("out.jsonl"))
        assert taken_in("files.db", "out.jsonl")["stored"] == first["pending"] == 12
        assert plan(words)["round"] == 1
        assert consilience("run", *words).stdout == live.stdout
        assert kept("live.db") == kept("files.db")


def test_a_bad_line_is_counted_and_ends_nothing(data):
    texts = {}

    def spoilt(line):
        number = int(line["id"][1:])
        texts[number] = line["custom_id"]
        response = line["response"]
        if number == 0:
            return "{broken\n"
        if number == 1:
            return line | {"custom_id": "sha256:0"}
        if number == 2:
            error = {"message": "flagged by our content_filter"}
            return line | {"response": response | {"status_code": 400, "body": {"error": error}}}
        if number == 3:  # as vLLM says it
            error = {"message": "maximum context length is 10 tokens", "code": 400}
            refusal = {"status_code": 400, "request_id": "r", "body": None}
            return line | {"response": refusal, "error": error}
        if number == 4:
            return line | {"response": None, "error": {"code": "batch_expired"}}
        if number == 5:
            return line | {"response": response | {"status_code": 500, "body": {}}}
        if number == 6:
            body = response["body"] | {"choices": []}
            return line | {"response": response | {"body": body}}
        if number == 7:
            body = response["body"] | {"model": "another"}
            return line | {"response": response | {"body": body}}
        return line

    with serve("openai-chat", model=WORLD) as server:
        words = options(data, server, "s.db")
        plan(words)
        submit(Path("round.jsonl"), server.url, Path("out.jsonl"), spoilt)
        with open("out.jsonl", "ab") as file:
            file.write(b"\n[1]\n\xff\xfe\n" + b"x" * (5 * 2**20) + b"\n")
        found = consilience("store", "ingest", "out.jsonl", "--store", "s.db", "--json")
        counts = json.loads(found.stdout)
        assert counts == {
            **{"lines": 15, "stored": 4, "known": 0, "partly": 0, "refused": 2, "failed": 4},
            **{"unknown": 1, "unreadable": 4, "pending": 6},
        }
        said = found.stderr.splitlines()
        assert [line.partition(",")[0] for line in said] == [
            *("unreadable", "failed", "refused", "unknown")
        ] or len(said) == 4
        assert any("out.jsonl, line" in line for line in said)
        # The same again changes nothing.
        again = taken_in("s.db", "out.jsonl")
        assert (again["stored"], again["known"], again["pending"]) == (0, 4, 6)
        with Store("s.db") as db:
            assert db.verify() == []
            gone = batch_files.failed_keys(db, list(texts.values()))
            assert gone == {texts[2], texts[3]}
            assert len(db.failures(list(gone))) == 2
        # What failed is in the next batch; what was refused is not, and the round goes on.
        second = plan(words)
        assert (second["round"], second["pending"]) == (0, 6)
        lines = Path("round.jsonl").read_text("utf-8").splitlines()
        assert {json.loads(line)["custom_id"] for line in lines} == {
            texts[n] for n in (0, 1, 4, 5, 6, 7)
        }
        submit(Path("round.jsonl"), server.url, Path("out.jsonl"))
        assert taken_in("s.db", "out.jsonl")["pending"] == 0
        assert plan(words)["round"] == 1


def test_what_failed_can_be_given_up(data):
    with serve("openai-chat", model=WORLD) as server:
        words = options(data, server, "s.db")
        plan(words)

        def expired(line):
            late = line["id"] == "b3"
            return line | ({"response": None, "error": {"code": "batch_expired"}} if late else {})

        submit(Path("round.jsonl"), server.url, Path("out.jsonl"), expired)
        assert taken_in("s.db", "out.jsonl")["pending"] == 1
        assert taken_in("s.db", "out.jsonl", more=["--give-up"])["pending"] == 0
        assert plan(words)["round"] == 1


def test_a_round_that_was_refused_as_a_whole_is_no_beginning(data):
    with serve("openai-chat", model=WORLD) as server:
        words = options(data, server, "s.db")
        plan(words)
        body = {"error": {"message": "flagged by our content_filter"}}
        refused = {"response": {"status_code": 400, "request_id": "r", "body": body}}
        submit(Path("round.jsonl"), server.url, Path("out.jsonl"), lambda line: line | refused)
        assert taken_in("s.db", "out.jsonl")["refused"] == 12
        done = consilience("plan", *words, "--batch", "round.jsonl", code=1)
        assert "no query of the first round was answered" in done.stderr
        assert "content filter" in done.stderr


def test_a_plan_is_split_at_what_a_file_may_hold(data, monkeypatch):
    with serve("openai-chat", model=WORLD) as server:
        words = options(data, server, "s.db")
        whole = plan(words)
        assert whole["files"] == ["round.jsonl"]
        lines = Path("round.jsonl").read_bytes().splitlines(keepends=True)
        monkeypatch.setattr(batch_files, "MOST_REQUESTS", 5)
        split = plan(words)
        assert split["files"] == ["round.jsonl", "round-2.jsonl", "round-3.jsonl"]
        assert b"".join(Path(name).read_bytes() for name in split["files"]) == b"".join(lines)
        assert [len(Path(name).read_bytes().splitlines()) for name in split["files"]] == [5, 5, 2]
        for number, name in enumerate(split["files"]):
            submit(Path(name), server.url, Path(f"out-{number}.jsonl"))
        monkeypatch.setattr(batch_files, "MOST_FILE_BYTES", len(lines[0]) + len(lines[1]))
        smaller = plan(words)["files"]
        assert len(smaller) >= 6
        most = batch_files.MOST_FILE_BYTES
        assert all(Path(name).stat().st_size <= most for name in smaller)
    found = taken_in("s.db", "out-2.jsonl", "out-0.jsonl", "out-1.jsonl")
    assert (found["stored"], found["pending"]) == (12, 0)


def logsumexp(values):
    return math.log(math.fsum(map(math.exp, values)))


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_an_engine_that_reads_tables_gives_the_same_predictions(api, data):
    with serve("vllm", model=WORLD) as server:
        more = ["--set", f"model.api={api}"]
        consilience("run", *options(data, server, "live.db", *more))
        words = options(data, server, "rows.db", *more)
        planned = plan(words, "round.parquet")
        assert (planned["pending"], planned["files"]) == (12, ["round.parquet"])
        rows = parquet.read_table("round.parquet").to_pylist()
        answers = []
        for row in rows:
            asked = {k: v for k, v in row.items() if k in ("messages", "prompt") and v is not None}
            assert list(asked) == ["messages" if api == "chat" else "prompt"]
            assert row["label_names"] == ["False", "True"]
            flags = {"continue_final_message": True}  # read only where the last turn is open
            values = WORLD.logprobs(server.text(asked | flags))
            logprobs = [logsumexp([values[id] for id in ids]) for ids in row["label_token_ids"]]
            mass = sum(map(math.exp, logprobs))
            answers.append({"prediction_id": row["prediction_id"], "logprobs": logprobs})
            answers[-1] |= {"mass": mass, "usage": {"prompt_tokens": 7}, "exact": [True, True]}
        bad = [{"logprobs": None}, {"logprobs": [0.5, 0.1]}, {"logprobs": [-1.0]}, {"mass": None}]
        for row, wrong in zip(answers, [*bad, {"prediction_id": "x"}], strict=False):
            parquet.write_table(pa.Table.from_pylist([row | wrong]), "bad.parquet")
            assert taken_in("rows.db", "bad.parquet")["stored"] == 0
        columns = pa.Table.from_pylist(answers)
        parquet.write_table(columns, "answers.parquet")
        parquet.write_table(columns.drop_columns(["mass"]), "without.parquet")
        done = consilience("store", "ingest", "without.parquet", "--store", "rows.db", code=2)
        assert "it lacks mass" in done.stderr
        Path("none.parquet").write_text("PAR1")
        done = consilience("store", "ingest", "none.parquet", "--store", "rows.db", code=2)
        assert "cannot be read as Parquet" in done.stderr
        found = taken_in("rows.db", "answers.parquet")
        assert (found["stored"], found["pending"]) == (12, 0)
        assert plan(words, "round.parquet")["round"] == 1
    with Store("live.db") as one, Store("rows.db") as other:
        keys = [key for key, _ in one.rounds(one.run().id)[0]]
        for live, row in zip(one.predictions(keys), other.predictions(keys), strict=True):
            assert row.logprobs == pytest.approx(live.logprobs, abs=1e-12)
            assert (row.exact, row.query) == (live.exact, live.query)
            assert row.mass == pytest.approx(live.mass, abs=1e-12)
            assert row.usage == {"prompt_tokens": 7}


def test_mistakes_cost_nothing(data, monkeypatch):
    with serve("openai-chat", model=WORLD) as server:
        words = options(data, server, "s.db")
        done = consilience("plan", *words, "--batch", "b.jsonl", "--output", "o.jsonl", code=2)
        assert "leave out --output or --batch" in done.stderr
        done = consilience("store", "ingest", "none.jsonl", "--store", "s.db", code=1)
        assert "s.db" in done.stderr
        assert not Path("s.db").exists()
        simulated = [data, *FILE_OPTIONS, "--model", "simulated:noisy", "--batch", "b.jsonl"]
        done = consilience("plan", *simulated, code=2)
        assert "is on no server that takes batches" in done.stderr
        plan(words)
        done = consilience("store", "ingest", "none.jsonl", "--store", "s.db", code=2)
        assert "cannot read none.jsonl" in done.stderr
        monkeypatch.setenv("CONSILIENCE_API_KEY", "Is the claim true")
        done = consilience("plan", *words, "--batch", "b.jsonl", code=2)
        assert "the API key stands in a text" in done.stderr
        assert not Path("b.jsonl").exists()
    # The server is gone, and nobody misses it.
    Path("empty.jsonl").write_text("")
    assert taken_in("s.db", "empty.jsonl")["lines"] == 0
