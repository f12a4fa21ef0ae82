"""What goes wrong: a mistake of the user costs nothing, a fault of a server changes no label."""

import itertools
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from command import consilience
from consilience import models
from consilience.cli import values
from consilience.store.database import Store
from consilience.store.runner import MOST_FAILURES
from made_up import FILE_OPTIONS, claims, write_csv
from wire_client import KEYS
from wire_model import Faults, PseudoModel
from wire_server import DIALECTS, serve

WORLD = PseudoModel(world=True)
FIRST = 12  # 12 examples in one framing: the queries of the zero-shot round


class Faulty:
    """The n-th question from now on gets the n-th fault, counted from 1; later ones get `last`."""

    def __init__(self, script, last=None):
        self.script, self.last = script, last
        self.asked = itertools.count(1)

    def of(self, number, text, nth):
        at = next(self.asked)
        return self.script.get(at, self.last if at > max(self.script) else None)


@pytest.fixture(autouse=True)
def a_folder_without_keys(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in (*KEYS, "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_csv(claims(12), tmp_path_factory.mktemp("data") / "claims.csv")


def words(command, data, url, store, *more):
    return [
        *(command, data, *FILE_OPTIONS, "--model", "openai:tiny", "--base-url", url),
        *(
            "--store",
            store,
            "--calls-per-example",
            3,
            "--set",
            "planning.settled=0",
            "--set",
            "planning.shots=4",
            *more,
        ),
    ]


HANG = 2.7


def waiting(fault):
    """A time-out that ends before a server that hangs does, and not before a busy one answers."""
    return ("--set", "model.timeout=2" if fault == "hang" else "model.timeout=30")


def probed(data, server, store):
    """Has the server probed, so that what follows meets it in the middle of the run."""
    consilience(*words("plan", data, server.url, store, "--output", store.with_suffix(".jsonl")))
    return len(server.questions)


def answers(store):
    """What a store holds: the log-probabilities of every prediction of its newest run."""
    with Store(store, readonly=True) as db:
        assert db.verify() == []
        keys = [key for rows in db.rounds(db.run().id) for key, _ in rows]
        return {p.key: p.logprobs for p in db.predictions(keys) if p is not None}


@pytest.fixture(scope="module")
def calm(data, tmp_path_factory):
    """The labels and the predictions of a run in which nothing fails."""
    store = tmp_path_factory.mktemp("calm") / "s.db"
    with serve("vllm", model=WORLD) as server:
        labels = consilience(*words("run", data, server.url, store)).stdout
    return labels, answers(store)


# ---- mistakes ----------------------------------------------------------------------------------

MISTAKES = {
    "no calls": (["--calls-per-example", 0.1], "fewer than the 12 of the zero-shot round"),
    "less than none": (["--calls-per-example", -1], "--calls-per-example"),
    "not a number": (["--calls-per-example", "nan"], "nan is not a finite number"),
    "no concurrency": (["--set", "model.concurrency=0"], "model.concurrency"),
    "negative concurrency": (["--set", "model.concurrency=-3"], "model.concurrency"),
    "no list": (["--set", "model.top_logprobs=0"], "model.top_logprobs"),
    "no time": (["--set", "model.timeout=0"], "model.timeout"),
    "no rate": (["--set", "model.rate=0"], "model.rate"),
    "fewer than no retries": (["--set", "model.retries=-1"], "model.retries"),
    "no groups": (["--set", "data.groups=0"], "data.groups"),
    "negative seed": (["--seed", -1], "--seed"),
    "negative price": (["--set", "budget.price=-1"], "budget.price"),
    "too many contrasts": (["--set", "planning.contrasts=2"], "planning.contrasts"),
    "all settled": (["--set", "planning.settled=1"], "planning.settled"),
    "no shots": (["--set", "planning.shots=0"], "planning.shots"),
    "no block": (["--set", "planning.block=0"], "planning.block"),
    "framing": (
        ["--set", "task.framings=rhymes"],
        "the framings are: plain, names, negated, letters, codes, sets",
    ),
    "framing twice": (["--set", "task.framings=plain,plain"], "named twice"),
    "anchor": (["--set", "planning.anchor=truth"], "add the framing `sets`"),
    "JSON": (["--set", "model.extra_body={'a': 1}"], "not JSON"),
    "JSON list": (["--set", "model.extra_body=[1]"], "a JSON object is expected"),
    "taken field": (["--set", 'model.extra_body={"logprobs": 3}'], "the package sets these itself"),
    "classes": (["--classes", "yes"], "two or more different classes"),
    "classes twice": (["--classes", "yes,yes"], "a class is named twice: yes, yes"),
    "opposite": (
        ["--classes", "a,b,c", "--set", "task.opposite=It is a"],
        "for tasks with two classes",
    ),
    "relation": (["--set", "relations.facts=half"], "there is no relation 'half'"),
    "text": (["--text", "claimant"], "claimant"),
    "template": (["--text", "{question} {claimant}"], "claimant"),
    "group": (["--set", "data.group=topic"], "topic"),
    "label": (["--label", "gold"], "gold"),
    "label in the text": (["--label", "claim"], "the method would see the answers"),
    "embedder": (["--set", "relations.embed=word2vec"], "use tfidf, local:FOLDER or openai:NAME"),
    "embeddings": (
        ["--set", "relations.embed_url=http://x/v1"],
        "relations.embed_url is for relations.embed openai:NAME",
    ),
    "suffix": (["--output", "labels.xls"], "the suffix is the format"),
    "no folder": (["--output", "there/labels.csv"], "cannot write there/labels.csv"),
    "a folder": (["--output", "folder.csv"], "it is a folder"),
    "a file as folder": (["--output", "file/labels.csv"], "cannot write file/labels.csv"),
    "address": (["--base-url", "localhost:8000"], "does not begin with http"),
    "password": (["--base-url", "http://me:secret@localhost/v1"], "holds a password"),
    "model": (["--model", "tiny"], "no model 'tiny'"),
    "world": (["--model", "simulated:flat"], "flat"),
    "local key": (
        ["--set", "model.local.speed=9"],
        "'speed' is none of device, dtype, batch, reuse",
    ),
    "local batch": (["--set", "model.local.batch=0"], "model.local.batch"),
    "local reuse": (["--set", "model.local.reuse=perhaps"], "'perhaps' is not a valid boolean"),
    "a word": (["--set", "model.local.cuda"], "KEY=VALUE is expected"),
    "local on a server": (["--set", "model.local.batch=4"], "'openai:tiny' is none"),
    "no such option": (["--calls", 3], "No such option"),
}


def one_line(done):
    """A mistake: no traceback, no data, and nothing before it."""
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def server():
    with serve("vllm", model=WORLD) as server:
        yield server


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_was_sent(server, data, tmp_path, name):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").write_text("")
    options, said = MISTAKES[name]
    before = len(server.requests)
    assert said in one_line(consilience(*words("run", data, server.url, "s.db"), *options, code=2))
    assert len(server.requests) == before
    assert not Path("s.db").exists()


def test_the_command_line_knows_every_option_of_a_local_model():
    assert {*values.LOCAL, "api"} == set(models.LOCAL)


@pytest.mark.parametrize("name", ["verses", "verses.csv"])
def test_data_that_is_not_there(server, name):
    for command in ("run", "plan"):
        assert name in one_line(consilience(command, name, "--model", "simulated:easy", code=2))
    assert name in one_line(consilience("datasets", "show", name, code=2))


def test_a_model_must_be_named_and_have_an_address(data):
    run = ["run", data, *FILE_OPTIONS]
    assert "say --model" in one_line(consilience(*run, code=2))
    assert "--base-url" in one_line(consilience(*run, "--model", "openai:tiny", code=2))
    for option in (
        ["--set", "model.top_logprobs=5"],
        ["--set", "model.retries=2"],
        ["--set", "model.api=chat"],
        ["--base-url", "http://x/v1"],
    ):
        done = consilience(*run, "--model", "simulated:noisy", *option, code=2)
        assert "is not on a server" in one_line(done)
    assert list(Path().iterdir()) == []


def test_a_store_that_is_none_is_left_as_it_is(server, data):
    path = Path("notes.db")
    path.write_text("not a database, and longer than the header of one would be" * 20)
    text = path.read_bytes()
    before = len(server.requests)
    for command in (
        *(words("run", data, server.url, path, *more) for more in ([], ["--dry-run"])),
        *(["solve", "--store", path], ["explain", "ab", "--store", path]),
        *(["store", name, path] for name in ("stats", "runs", "verify")),
    ):
        assert "notes.db" in one_line(consilience(*command, code=1))
    assert len(server.requests) == before
    assert path.read_bytes() == text


def test_a_folder_is_no_store_and_no_table(data):
    Path("folder").mkdir()
    for path in (".", "folder", ".."):
        for command in (
            *(["solve"], ["report"], ["review"], ["weights"], ["rerun", "ab"]),
            *(["explain", "ab"], ["predict", data, "--model", "simulated:easy"]),
        ):
            said = one_line(consilience(*command, "--store", path, code=2))
            assert f"{path} is a folder" in said, command
        simulated = ["--model", "simulated:easy", "--store", path]
        for command in (
            ["run", data, *FILE_OPTIONS, *simulated],
            *(["store", name, path] for name in ("stats", "verify", "gc")),
            ["store", "export", path, "x.jsonl"],
        ):
            said = consilience(*command, code=1).stderr
            assert "it is a folder; name a file in it" in said, command
        assert "is a folder; name the table" in one_line(consilience("init", path, code=2))
    assert [path.name for path in Path().iterdir()] == ["folder"]


def test_a_simulated_model_of_other_classes_is_refused_before_all_else(data):
    task = ["--text", "claim", "--question", "Which?", "--classes", "a,b,c,d"]
    more = ["--model", "simulated:easy", "--store", "s.db"]
    for command in (["run"], ["run", "--dry-run"], ["plan"], ["plan", "--output", "p.jsonl"]):
        said = one_line(consilience(command[0], data, *task, *more, *command[1:], code=2))
        assert "answers with 2 classes, and the task has 4" in said and "simulated:k4" in said
    assert list(Path().iterdir()) == []


def test_a_run_or_a_store_that_is_not_there(server, data):
    consilience(*words("run", data, server.url, "s.db"))
    for command in (["solve"], ["evaluate"], ["explain", "ab"], ["export", "x.csv"]):
        assert "there is no store consilience.db" in one_line(consilience(*command, code=2))
        done = consilience(*command, "--store", "s.db", "--run", "zzz", code=1)
        assert "no run 'zzz'; the runs are: " in one_line(done)
    assert "cannot open" in one_line(consilience("store", "stats", "none.db", code=1))
    assert "no row of run" in one_line(consilience("explain", "zz", "--store", "s.db", code=2))
    for command in (["solve", "--output"], ["export"]):
        done = consilience(*command, "no/x.csv", "--store", "s.db", code=2)
        assert "cannot write no/x.csv" in one_line(done)


# ---- faults of a server ------------------------------------------------------------------------

LIKE_OTHERS = ("500", "malformed", "empty", "200-error")
"""Faults that the command line meets as it meets another; below it each is met by default."""


def each(faults):
    """The faults as cells of a grid, slow where one like them is not."""
    return [
        pytest.param(fault, marks=[pytest.mark.slow] if fault in LIKE_OTHERS else [])
        for fault in faults
    ]


PASSING = ["429:0.01", "500", "503", "hang", "cut", "malformed", "nan", "empty", "200-error"]


@pytest.mark.parametrize("fault", each(PASSING))
def test_a_passing_fault_changes_no_label(data, calm, tmp_path, fault):
    store = tmp_path / "s.db"
    with serve("vllm", model=WORLD, hang=HANG) as server:
        at = probed(data, server, store)
        server.faults = Faulty({2: fault, 3: fault})
        done = consilience(*words("run", data, server.url, store, *waiting(fault)))
        assert len(server.questions) == at + 36 + 2
    assert (done.stdout, answers(store)) == calm
    assert "36 count, 0 absent" in done.stderr
    assert "failed" not in done.stderr


LASTING = {
    "429:0.01": "lower the concurrency, or set requests per minute",
    "500": "the server is in trouble: look at its log, or run again later",
    "503": "the server is in trouble: look at its log, or run again later",
    "hang": "no answer within 2 s; lower the concurrency, or raise the time-out",
    "cut": "check that the server runs and that the base URL is its address",
    "malformed": "look at the server's log, or run again later",
    "nan": "look at the server's log, or run again later",
    "empty": "look at the server's log, or run again later",
    "200-error": "HTTP 502",
    "401": "set CONSILIENCE_API_KEY to a key that this server accepts",
    "402": "the account is out of credit",
}


def the_line(done, server):
    """The one line of an error; what stands before it is the talk of a run that began."""
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("consilience: ")]
    assert done.stderr.endswith(line + "\n")
    assert server.url in line
    assert "model 'tiny'" in line
    return line


@pytest.mark.parametrize("fault", each(LASTING))
def test_a_lasting_fault_ends_in_one_line_and_loses_nothing(data, calm, tmp_path, fault):
    store = tmp_path / "s.db"
    # Eight failures in a row end the run in the round in which they began: the next one would be
    # planned from what was answered, and stay so.
    good = FIRST - 9
    with serve("vllm", model=WORLD, hang=HANG) as server:
        at = probed(data, server, store)
        server.faults = Faulty({good: None}, last=fault)
        run = words("run", data, server.url, store, *waiting(fault), "--set", "model.retries=0")
        # Who waits for a server that hangs waits together.
        lanes = f"model.concurrency={8 if fault == 'hang' else 4}"
        line = the_line(consilience(*run, "--set", lanes, code=1), server)
        assert LASTING[fault] in line
        # A refusal ends it at once, other failures when no answer came between eight of them;
        # three more may have been under way before the last answer came, and three at the end.
        fatal = fault in ("401", "402")
        assert len(server.questions) - at <= (good + 4 if fatal else good + 8 + 6)
        kept = answers(store)
        assert len(kept) == good
        assert kept.items() <= calm[1].items()
        assert consilience("store", "verify", store).stdout == ""
        solved = consilience("solve", "--store", store)
        assert f"{good} count, {FIRST - good} absent" in solved.stderr

        # The cure, and the same command with more patience: what is there is not asked again.
        server.faults = Faults()
        before = len(server.questions)
        done = consilience(*run, "--set", "model.timeout=30")
        assert len(server.questions) == before + 36 - good
    assert (done.stdout, answers(store)) == calm


FROM_THE_START = ["500", "401", pytest.param("hang", marks=pytest.mark.slow), "malformed"]


@pytest.mark.parametrize("fault", FROM_THE_START)
def test_a_server_that_fails_from_the_start_is_named(data, tmp_path, fault):
    store = tmp_path / "s.db"
    with serve("vllm", faults=Faults(always=fault), hang=HANG) as server:
        done = consilience(
            *words("run", data, server.url, store, *waiting(fault), "--set", "model.retries=0"),
            code=1,
        )
        assert "unusable" in done.stderr or the_line(done, server)
        with Store(store, readonly=True) as db:
            assert (db.runs(), db.stats().models) == ([], ())


@pytest.mark.parametrize("dialect", ["lm-studio", "transformers-serve", "openrouter-null"])
def test_a_server_without_log_probabilities_is_refused_with_the_cure(data, calm, tmp_path, dialect):
    store = tmp_path / "s.db"
    with serve(dialect, model=WORLD) as server:
        run = words("run", data, server.url, store)
        line = the_line(consilience(*run, code=1), server)
        assert "no log-probabilities" in line
        assert "vLLM, SGLang, llama-server" in line
        # The user serves the model with something else at the same address.
        server.dialect = DIALECTS["vllm"]
        done = consilience(*run)
    assert (done.stdout, answers(store)) == calm


@pytest.mark.parametrize(
    ("api", "how"), [("completions", "null"), ("completions", "drop"), ("chat", "null")]
)
def test_log_probabilities_that_stop_coming_end_the_run_soon(data, tmp_path, api, how):
    store = tmp_path / "s.db"
    with serve("vllm", model=WORLD) as server:
        run = words(
            "run",
            data,
            server.url,
            store,
            "--set",
            f"model.api={api}",
            "--set",
            "model.concurrency=2",
        )
        consilience(*run, "--calls-per-example", 2)
        before = len(server.questions)
        server.dialect = replace(DIALECTS["vllm"], **{api: how})
        failed = consilience(*run, code=1)
        assert f"{server.url} answered without" in failed.stderr
        assert len(server.questions) - before <= MOST_FAILURES + 1  # one may be under way
        assert len(answers(store)) == 2 * 12
        server.dialect = DIALECTS["vllm"]
        assert "36 count, 0 absent" in consilience(*run).stderr


def test_nobody_there(data, calm, tmp_path):
    store = tmp_path / "s.db"
    with serve("vllm", model=WORLD) as server:
        run = words("run", data, server.url, store, "--set", "model.retries=0")
    line = the_line(consilience(*run, code=1), server)
    assert "check that the server runs and that the base URL is its address" in line
    with serve("vllm", model=WORLD, port=int(server.url.split(":")[2].split("/")[0])):
        done = consilience(*run)
    assert (done.stdout, answers(store)) == calm


def test_a_server_that_is_restarted_in_the_middle_of_a_run(data, calm, tmp_path):
    store = tmp_path / "s.db"
    with serve("vllm", model=WORLD) as server:
        probed(data, server, store)
    ended = threading.Event()

    def come_back():
        ended.wait(0.3)
        with serve("vllm", model=WORLD, port=int(server.url.split(":")[2].split("/")[0])):
            ended.wait(30)

    thread = threading.Thread(target=come_back)
    thread.start()
    try:
        done = consilience(*words("run", data, server.url, store))
    finally:
        ended.set()
        thread.join()
    assert (done.stdout, answers(store)) == calm


def test_some_queries_that_fail_are_absent_and_counted(data, calm, tmp_path):
    store = tmp_path / "s.db"
    with serve("vllm", model=WORLD) as server:
        probed(data, server, store)
        server.faults = Faulty({3: "malformed", 20: "413"})
        run = words("run", data, server.url, store, "--set", "model.retries=0")
        done = consilience(*run)
    kept = answers(store)
    assert len(kept) == 34
    for key in kept.keys() & calm[1].keys():
        assert kept[key] == calm[1][key]
    assert "34 count, 2 absent" in done.stderr
    assert "2 queries failed, the first: " in done.stderr
    assert "1 row" not in done.stdout and len(done.stdout.splitlines()) > 12


def test_what_failed_is_asked_again_by_the_same_command(data, tmp_path):
    store = tmp_path / "s.db"
    with serve("vllm", model=WORLD) as server:
        probed(data, server, store)
        server.faults = Faulty(dict.fromkeys(range(1, 7), "malformed"))
        run = words(
            "run",
            data,
            server.url,
            store,
            "--set",
            "model.retries=0",
            "--set",
            "model.concurrency=1",
        )
        assert "6 queries failed" in consilience(*run).stderr
        before = len(server.questions)
        done = consilience(*run)
        assert "36 count, 0 absent" in done.stderr
        assert len(server.questions) == before + 6


def test_a_key_is_used_and_shown_nowhere(data, calm, tmp_path, monkeypatch):
    store = tmp_path / "s.db"
    with serve("vllm", model=WORLD, key="sk-right") as server:
        run = words("run", data, server.url, store, "--set", "model.retries=0")
        monkeypatch.setenv("CONSILIENCE_API_KEY", "sk-wrong")
        failed = consilience(*run, code=1)
        assert "HTTP 401" in the_line(failed, server)
        monkeypatch.setenv("CONSILIENCE_API_KEY", "sk-right")
        done = consilience(*run)
    assert (done.stdout, answers(store)) == calm
    said = (failed.stderr + done.stdout + done.stderr).encode()
    consilience("store", "export", store, tmp_path / "all.jsonl")
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"sk-" not in said + written
