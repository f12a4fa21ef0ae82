"""A row that the server refuses is counted with its reason, and the run goes on without it."""

from __future__ import annotations

import csv
import json
import sqlite3

import pytest

from command import consilience
from consilience.data.dataset import example_id
from consilience.errors import AnswerError
from consilience.models.label_logprobs import next_tokens
from consilience.models.plausible import check_sum
from consilience.models.refusals import row_reason
from made_up import TASK_OPTIONS
from odd_server import said, serve_odd
from wire_server import serve

BAD = "The FORBIDDEN lamp is lit."
ROWS = [f"The lamp number {i} is lit." for i in range(23)] + [BAD]
CHEAP = [
    "--calls-per-example",
    "3",
    "--set",
    "planning.census=0",
    "--set",
    "planning.shots=8",
    "--set",
    "model.retries=1",
]

DETAILS = ("--set", "output.details=yes")


def refusing(answer, word="FORBIDDEN"):
    """A reply that gives an answer to every prompt with a word in it."""
    return lambda request, body, text: answer if word in text else None


def filtered_200(chat=False):
    choice = {"index": 0, "finish_reason": "content_filter", "logprobs": None, "text": ""}
    return said(200, {"choices": [choice], "usage": {"prompt_tokens": 5}})


REFUSALS = {
    "filter 400": (lambda: said(400, {"error": {"code": "content_filter"}}), "content filter"),
    "filter 403": (lambda: said(403, {"error": {"message": "input was flagged"}}), "filter"),
    "filter 200": (filtered_200, "content filter"),
    "too long 400": (lambda: said(400, {"message": "maximum context length is 9"}), "too long"),
    "too long 413": (lambda: said(413, "Payload Too Large"), "too long"),
    "too long 422": (lambda: said(422, {"error": "`inputs` must have less than 9 tokens"}), "long"),
    "too long 500": (lambda: said(500, "Requested tokens (90) exceed context window of 9"), "long"),
    "unknown 400": (lambda: said(400, {"error": "no"}), "refuses this request"),
}


@pytest.fixture
def claims(tmp_path):
    path = tmp_path / "claims.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["text"], *([row] for row in ROWS)])
    return path


@pytest.mark.parametrize("kind", REFUSALS)
def test_one_refused_row_never_ends_a_run(kind, claims, tmp_path):
    answer, reason = REFUSALS[kind]
    store, labels = tmp_path / "s.db", tmp_path / "labels.csv"
    with serve_odd(refusing(answer())) as server:
        words = ["run", claims, *TASK_OPTIONS, "--model", "openai:tiny", "--base-url", server.url]
        done = consilience(*words, "--store", store, "--output", labels, *DETAILS, *CHEAP)
        bad = example_id(BAD)
        number = ROWS.index(BAD) + 1
        assert f"1 row has no answer and so no label:\n  {number}  " in done.stderr
        assert reason in done.stderr
        # Not tried again: once in each round and framing.
        asked = [json.dumps(r["body"]) for r in server.questions if BAD in json.dumps(r["body"])]
        assert len(asked) == len(set(asked)) >= 2
        if kind == "filter 400":
            again = consilience(*words, "--store", store, "--json", *CHEAP)
            assert list(json.loads(again.stdout)["unanswered"]) == [str(number)]
    with labels.open() as file:
        rows = {row["text"]: row for row in csv.DictReader(file)}
    assert len(rows) == len(ROWS)
    assert (rows[BAD]["label"], rows[BAD]["probability"]) == ("", "")
    assert rows[BAD]["predictions"] == "0"
    assert all(row["label"] for text, row in rows.items() if text != BAD)
    with sqlite3.connect(store) as db:
        shown = db.execute("SELECT count(*) FROM plan WHERE instr(shots, ?)", (bad,)).fetchone()[0]
        kept = db.execute("SELECT body FROM failures").fetchall()
    db.close()
    assert shown == 0
    assert kept and all(body for (body,) in kept)
    assert "no label:" in consilience("explain", bad, "--store", store).stderr


def test_a_refused_row_is_shown_in_no_round_of_a_whole_run(claims, tmp_path):
    """With eight calls other concepts are looked for, and there too it is no shot."""
    store = tmp_path / "s.db"
    with serve_odd(refusing(REFUSALS["filter 400"][0]())) as server:
        words = ["run", claims, *TASK_OPTIONS, "--model", "openai:tiny", "--base-url", server.url]
        consilience(*words, "--store", store, "--calls-per-example", 8, "--set", "planning.shots=8")
    bad = example_id(BAD)
    with sqlite3.connect(store) as db:
        planned = db.execute("SELECT shots, target, key FROM plan").fetchall()
        failed = {key for (key,) in db.execute("SELECT key FROM failures")}
    db.close()
    assert sum(shots != "[]" for shots, _, _ in planned) >= 4 * len(ROWS)
    assert not [shots for shots, _, _ in planned if bad in shots]
    assert failed <= {key for _, target, key in planned if target == bad}


@pytest.mark.parametrize(("kind", "most"), [("filter 400", 48), ("unknown 400", 24)])
def test_where_every_row_is_refused_it_ends_soon(kind, most, claims, tmp_path):
    with serve_odd(lambda request, body, text: None) as server:
        words = ["--model", "openai:tiny", "--base-url", server.url, "--store", tmp_path / "s.db"]
        consilience("plan", claims, *TASK_OPTIONS, *words, "--output", tmp_path / "plan.jsonl")
        before = len(server.questions)
        answer = REFUSALS[kind][0]()
        server.reply = refusing(answer, "lamp")
        done = consilience("run", claims, *TASK_OPTIONS, *words, *CHEAP, code=1)
    assert REFUSALS[kind][1] in done.stderr
    assert len(done.stderr.strip().splitlines()[-1]) < 1000
    # And a list, which is tried before others.
    assert 1 <= len(server.questions) - before <= most + 1


def test_shots_that_are_too_long_for_everybody_end_the_round(claims, tmp_path):
    """All rows were answered alone, and none with shots: that is not about the rows."""
    long = said(400, {"message": "maximum context length is 9"})
    with serve_odd(lambda r, b, text: long if text.count("lamp") > 1 else None) as server:
        words = ["--model", "openai:tiny", "--base-url", server.url, "--store", tmp_path / "s.db"]
        done = consilience("run", claims, *TASK_OPTIONS, *words, *CHEAP)
    # Fewer than would plainly be everything: what the model said alone is what there is.
    assert "too long" in done.stderr


WORDINGS = {
    "too long": [
        (400, "This model's maximum context length is 4097 tokens, however you requested 5000"),
        (400, "The decoder prompt (length 5000) is longer than the maximum model length of 2048"),
        (400, "the request exceeds the available context size. try increasing the context size"),
        (400, '{"type": "exceed_context_size_error"}'),
        (500, "Requested tokens (1042) exceed context window of 512"),
        (500, "input is too large to process. increase the physical batch size"),
        (400, "Requested token count exceeds the model's maximum context length of 4096 tokens"),
        (400, "The input (5000 tokens) is longer than the model's context length (4096 tokens)."),
        (422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096"),
        (400, "the input length exceeds the context length"),
        (400, "prompt is too long: 200001 tokens > 200000 maximum"),
        (400, "The input token count (40000) exceeds the maximum number of tokens allowed (32768)"),
        (400, "Prompt contains 40000 tokens, too large for 32768 maximum context length"),
        (400, "Please reduce the length of the messages or completion."),
        (400, "Invalid 'messages[0].content': string too long. Expected at most 1048576"),
        (429, "Request too large for gpt-4 on tokens per min (TPM): Limit 10000, Requested 20000"),
        (413, ""),
    ],
    "filtered": [
        (400, "The response was filtered due to the content management policy"),
        (400, '{"code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}}'),
        (403, "The model requires moderation and your input was flagged for violence."),
        (403, "Prompt blocked by the safety filter"),
        (400, "Content Exists Risk"),
        (400, "Input data may contain inappropriate content. data_inspection_failed"),
        (400, "Your prompt was flagged as potentially violating our usage policy."),
        (451, "unavailable"),
    ],
    "refused": [(400, "bad"), (422, "logprobs: the input should be a number")],
    None: [
        (401, "context length"), (402, "flagged"), (403, "no access"), (404, "no such model"),
        (403, "Your account has been suspended for a violation of our terms. Access is blocked."),
        (403, "Your access was terminated due to violation of our policies"),
        (403, "Request is prohibited by organization's policy."),
        (403, "Access from your region is blocked by our content policy"),
        (403, "Request blocked."),
        (429, "slow down"), (500, "the engine died"), (503, "overloaded"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "status", "text"), [(r, *one) for r, all in WORDINGS.items() for one in all]
)
def test_what_servers_say_of_a_row(reason, status, text):
    assert row_reason(status, text) == reason


# ---- answers that cannot be true ---------------------------------------------------------------


def answer(top, index=0):
    content = [{"token": t, "logprob": v} for t, v in top]
    first = {**content[0], "top_logprobs": content}
    return {"choices": [{"index": index, "logprobs": {"content": [first]}}]}


def test_probabilities_that_sum_to_more_than_one_are_refused():
    with pytest.raises(AnswerError, match=r"sum to 1\.8"):
        check_sum(t.logprob for t in next_tokens(answer([("True", -0.1), ("False", -0.1)])))
    check_sum(t.logprob for t in next_tokens(answer([("True", -0.69), ("False", -0.69)])))


def test_choices_in_the_wrong_order_are_refused():
    one, two = answer([("True", -0.1)], 1), answer([("False", -0.1)], 0)
    with pytest.raises(AnswerError, match="number 1"):
        next_tokens({"choices": [*one["choices"], *two["choices"]]})


def test_an_impossible_answer_is_kept_and_counted(claims, tmp_path):
    impossible = json.dumps(answer([(" True", -0.1), (" False", -0.2)]))
    store = tmp_path / "s.db"
    with serve_odd(refusing(said(200, impossible))) as server:
        words = ["run", claims, *TASK_OPTIONS, "--model", "openai:tiny", "--base-url", server.url]
        done = consilience(*words, "--store", store, "--output", tmp_path / "l.csv", *CHEAP)
    assert "sum to 1.7" in done.stderr
    with sqlite3.connect(store) as db:
        assert {body for (body,) in db.execute("SELECT body FROM failures")} == {impossible}
    db.close()


def test_an_ordinary_run_has_no_word_of_refused_rows(claims, tmp_path):
    with serve("openai-legacy") as server:
        words = ["run", claims, *TASK_OPTIONS, "--model", "openai:tiny", "--base-url", server.url]
        done = consilience(*words, "--store", tmp_path / "s.db", "--output", tmp_path / "l", code=2)
        done = consilience(*words, "--store", tmp_path / "s.db", "--output", tmp_path / "l.csv")
    assert "no answer" not in done.stderr
