import json
import math
from pathlib import Path

import pytest

from consilience.errors import AnswerError, InputError, NoLogprobs
from consilience.models.label_logprobs import (
    FirstToken,
    Token,
    check_names,
    next_tokens,
    read_labels,
    sampled_token,
    spellings,
)

TOP = {" True": -0.5, " False": -1.5, " true": -3.0, " the": -4.0}
LOG = math.log


def arrays(top, sampled=" True", logprob=-0.5, **more):
    return {"tokens": [sampled], "token_logprobs": [logprob], "top_logprobs": [top], **more}


def entry(text, logprob, **more):
    return {"token": text, "logprob": logprob, **more}


def entries(top, sampled=" True", logprob=-0.5, **more):
    listed = [entry(t, p, bytes=list(t.encode()), **more) for t, p in top.items()]
    return {"content": [entry(sampled, logprob, top_logprobs=listed)]}


def response(logprobs):
    return {"choices": [{"index": 0, "logprobs": logprobs}]}


def read(top, names=("True", "False"), **options):
    tokens = [Token(text, None, None, logprob) for text, logprob in top.items()]
    return read_labels(tokens, names, **options)


def added(*values):
    return LOG(sum(math.exp(v) for v in values))


SHAPES = {
    "arrays": arrays(TOP),
    "arrays, one mapping": {**arrays(TOP), "top_logprobs": TOP},
    "arrays, a list of entries": {
        **arrays(TOP),
        "top_logprobs": [entry(t, p) for t, p in TOP.items()],
    },
    "arrays, a list of lists": {
        **arrays(TOP),
        "top_logprobs": [[entry(t, p) for t, p in TOP.items()]],
    },
    "entries": entries(TOP),
    "entries without bytes": {
        "content": [
            entry(" True", -0.5, top_logprobs=[entry(t, p, bytes=None) for t, p in TOP.items()])
        ]
    },
    "entries and arrays": {**entries(TOP), **arrays({})},
    "byte-level spaces": arrays({t.replace(" ", "Ġ"): p for t, p in TOP.items()}, "ĠTrue"),
    "sentencepiece spaces": arrays({t.replace(" ", "▁"): p for t, p in TOP.items()}, "▁True"),
}


@pytest.mark.parametrize("logprobs", SHAPES.values(), ids=SHAPES)
def test_every_shape_is_the_same_list(logprobs):
    tokens = next_tokens(response(logprobs))
    assert {t.text: t.logprob for t in tokens} == TOP
    assert len(tokens) == len(TOP)
    found = read_labels(tokens, ("False", "True"))
    assert found.logprobs == pytest.approx((-1.5, added(-0.5, -3.0)))
    assert found.exact == (True, True)
    assert found.mass == pytest.approx(sum(math.exp(v) for v in (-0.5, -1.5, -3.0)))


def test_the_sampled_token_is_listed_too():
    for logprobs in (arrays(TOP, " False", -1.5), entries(TOP, " False", -1.5)):
        assert len(next_tokens(response(logprobs))) == 4
    for logprobs in (arrays(TOP, " water", -9.0), entries(TOP, " water", -9.0)):
        tokens = next_tokens(response(logprobs))
        assert tokens[-1] == Token(" water", None, None, -9.0, sampled=True)
    only = {"tokens": ["A"], "token_logprobs": [-0.1], "top_logprobs": None}
    assert [t.text for t in next_tokens(response(only))] == ["A"]
    assert sampled_token(response(only)).logprob == -0.1


def test_a_token_that_is_listed_only_because_it_was_drawn_bounds_nothing():
    # vLLM puts it in the place of the last of k.
    tokens = next_tokens(response(entries({" the": -1.0, " a": -2.0, "x": -8.0}, "x", -8.0)))
    assert read_labels(tokens, ("A", "B")).logprobs == pytest.approx((-2.0, -2.0))
    # A rare spelling that was drawn says nothing of the usual one.
    tokens = next_tokens(response(entries({" the": -1.0, "TRUE": -8.0}, "TRUE", -8.0)))
    found = read_labels(tokens, ("True", "No"))
    assert found.exact == (False, False)
    assert found.logprobs[0] == pytest.approx(added(-1.0, -8.0))
    # The name itself is exact, however rare, and brings the rare spellings with it.
    tokens = next_tokens(response(entries({" the": -1.0, " No": -8.0}, " No", -8.0)))
    assert read_labels(tokens, ("True", "No")).exact == (False, True)


def test_bytes_and_ids_are_the_key():
    partial = [
        entry("\ufffd", -1.0, bytes=[0xE2]),
        entry("\ufffd", -2.0, bytes=[0xE3]),
        entry("�True", -0.9, bytes=list(b" True")),
    ]
    logprobs = {"content": [entry("\ufffd", -2.0, bytes=[0xE3], top_logprobs=partial)]}
    tokens = next_tokens(response(logprobs))
    assert len(tokens) == 3
    assert read_labels(tokens, ("True", "False")).logprobs[0] == -0.9
    twins = [entry(" A", -1.0, id=5), entry(" A", -2.0, id=9)]
    logprobs = {"content": [entry(" A", -2.0, id=9, top_logprobs=twins)]}
    tokens = next_tokens(response(logprobs))
    assert read_labels(tokens, ("A", "B")).logprobs[0] == pytest.approx(added(-1.0, -2.0))


def test_a_mapping_that_kept_the_wrong_twin_gives_way_to_the_sampled_value():
    tokens = next_tokens(response(arrays({" A": -6.0, " B": -2.0}, " A", -0.3)))
    assert read_labels(tokens, ("A", "B")).logprobs == (-0.3, -2.0)


def test_tokens_may_be_named_by_id():
    top = {"token_id:7": -0.5, "token_id:8": -2.0, "token_id:9": -3.0}
    tokens = next_tokens(response(arrays(top, "token_id:7", -0.5)))
    assert [t.id for t in tokens] == [7, 8, 9]
    first = [FirstToken(8, frozenset({8, 9})), FirstToken(7, frozenset({7}))]
    found = read_labels(tokens, ("True", "False"), first, top=False)
    assert found.logprobs == pytest.approx((added(-2.0, -3.0), -0.5))


@pytest.mark.parametrize("sentinel", [None, -9999.0, -3.4028235e38, -math.inf])
def test_a_sentinel_is_missing_and_never_a_value(sentinel):
    for logprobs in (arrays(TOP | {" False": sentinel}), entries(TOP | {" False": sentinel})):
        tokens = next_tokens(response(logprobs))
        assert len(tokens) == 3
        found = read_labels(tokens, ("True", "False"))
        assert found.exact == (True, False)
        assert found.logprobs[1] == -4.0


@pytest.mark.parametrize("wrong", [math.nan, 0.5, math.inf, "-1", True, [1]])
def test_what_is_no_log_probability_is_an_error(wrong):
    for logprobs in (arrays(TOP | {"x": wrong}), entries(TOP | {"x": wrong})):
        with pytest.raises(AnswerError, match="where a log-probability should") as caught:
            next_tokens(response(logprobs))
        assert "choices" in caught.value.body


def test_rounding_above_zero_is_zero():
    assert next_tokens(response(arrays({"A": 1e-5}, "A", 1e-5)))[0].logprob == 0.0


MALFORMED = {
    "a list": [],
    "no choices": {},
    "empty choices": {"choices": []},
    "a choice that is none": {"choices": ["True"]},
    "empty content": response({"content": []}),
    "empty arrays": response({"tokens": [], "token_logprobs": [], "top_logprobs": []}),
    "content of strings": response({"content": ["True"]}),
    "top of strings": response(arrays(["True"])),
    "nothing but sentinels": response(arrays({"A": None}, "A", None)),
}


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_answer_is_an_answer_error(answer):
    with pytest.raises(AnswerError) as caught:
        next_tokens(answer)
    assert not caught.value.fatal
    assert json.loads(caught.value.body) == answer


ABSENT = [None, {}, {"content": None}, {"content": None, "refusal": None}, "missing", True]


@pytest.mark.parametrize("logprobs", ABSENT)
def test_absent_log_probabilities_name_the_server_and_the_cure(logprobs):
    answer = response(logprobs)
    if logprobs == "missing":
        del answer["choices"][0]["logprobs"]
    with pytest.raises(NoLogprobs, match=r"http://here.*without log-prob.*vLLM") as caught:
        next_tokens(answer, "http://here")
    assert caught.value.fatal
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        *((end, None) for end in ("error", "network_error", "insufficient_system_resource")),
        *(
            (end, "filtered")
            for end in ("sensitive", "PROHIBITED_CONTENT", "SPII", "Content_Filter")
        ),
    ],
)
def test_an_answer_that_was_ended_has_none_and_says_nothing_of_the_server(end, reason):
    answer = {"choices": [{"index": 0, "finish_reason": end, "logprobs": None}]}
    with pytest.raises(AnswerError) as caught:
        next_tokens(answer)
    assert (caught.value.reason, caught.value.fatal) == (reason, False)


def test_spellings():
    assert spellings("True") == ("True", "true", "TRUE")
    assert spellings("mostly true") == ("mostly true", "MOSTLY TRUE", "Mostly true")
    assert spellings("A") == ("A",)
    assert spellings("10") == ("10",)


def test_letters_have_no_case_and_words_are_whole():
    top = {"untrue": -0.1, "a": -3.0, " A": -4.0, "A": -5.0, "  A": -5.5, "True!": -5.5}
    found = read(top, ("A", "True"))
    assert found.logprobs[0] == pytest.approx(added(-4.0, -5.0))
    assert found.exact == (True, False)
    assert found.mass == pytest.approx(math.exp(-4) + math.exp(-5))


def test_the_beginning_of_a_name_stands_for_it_if_no_one_else_begins_so():
    names = ("Incorrect", "Correct")
    assert read({" Incor": -1.0, " the": -2.0}, names).logprobs[0] == -1.0
    assert read({" Inc": -1.5, " Incor": -2.0}, names).logprobs[0] == -2.0
    # Two characters are too few, but they still lift the bound.
    found = read({" In": -1.0, " the": -2.0}, names)
    assert found.exact == (False, False)
    assert found.logprobs[0] == pytest.approx(added(-1.0, -2.0))
    assert found.logprobs[1] == -2.0
    # Once the whole name is listed, its beginning is another word's.
    assert read({" Incor": -1.0, " Incorrect": -2.0}, names).logprobs[0] == -2.0
    # What begins two names stands for neither.
    found = read({" uns": -0.2, " the": -3.0}, ("unsafe", "unsure"))
    assert found.exact == (False, False)
    assert all(value >= -0.2 for value in found.logprobs)


def test_a_known_first_token_is_what_is_matched():
    first = [FirstToken(4, frozenset({4})), FirstToken(6, frozenset({6}))]
    tokens = [Token(" In", None, 4, -1.0), Token(" Inc", None, 5, -2.0)]
    found = read_labels(tokens, ("Incorrect", "Correct"), first)
    assert found.logprobs == (-1.0, -2.0)
    assert found.exact == (True, False)


def test_a_name_that_is_one_token_is_not_meant_by_its_beginning():
    for whole, exact in ((True, False), (False, True)):
        first = [FirstToken(4, frozenset({4}), whole), FirstToken(6, frozenset({6}))]
        found = read({" Tru": -1.0, " the": -2.0}, ("True", "No"), first=first)
        assert found.exact == (exact, False)
        assert found.logprobs == ((-1.0 if exact else -2.0), -2.0)


def test_a_name_in_pieces_is_bounded_by_its_first_letter_or_half_letter():
    pieces = FirstToken(4, frozenset({4}), whole=False)
    top = {" Z": -0.5, "": -2.0, "\ufffd": -3.0, " ": -3.5, " the": -9.0}
    left = LOG(1 - sum(math.exp(value) for value in top.values()))
    for name, through in (
        ("Zebra", (-0.5, -3.5, -9.0)),
        # A mapping may have kept the least of several half letters: only what is left over bounds.
        ("Étrange", (-2.0, -3.0, -3.5, left)),
        ("other", (-3.5, -9.0)),
    ):
        found = read(top, (name, "No"), first=[pieces, FirstToken(6, frozenset({6}))])
        assert found.exact == (False, False)
        assert found.logprobs == pytest.approx((added(*through), -9.0), abs=1e-4)
        # Without the server's tokenizer the name is most likely one token.
        assert read(top, (name, "No")).logprobs[0] == -9.0


@pytest.mark.parametrize("top", [{" a": -3.0, " b": -5.0}, {" a": -0.01, " b": -5.0}, {" a": 0.0}])
def test_a_bound_is_never_below_what_is_possible(top):
    found = read(top)
    left = 1 - sum(math.exp(v) for v in top.values())
    most = min([*top.values(), LOG(left) if left > 0 else -math.inf])
    assert found.exact == (False, False)
    assert found.mass == 0.0
    assert most <= found.logprobs[0] <= max(most, LOG(2e-6)) + 1e-3


def test_without_a_top_list_only_what_is_left_over_bounds():
    tokens = [Token(" A", None, 1, LOG(0.25)), Token("x", None, 2, LOG(0.001))]
    first = [FirstToken(1, frozenset({1})), FirstToken(3, frozenset({3}))]
    found = read_labels(tokens, ("A", "B"), first, top=False)
    assert found.logprobs[1] == pytest.approx(LOG(0.749), abs=1e-4)


def test_mass_is_of_the_exact_labels():
    found = read({" True": LOG(0.6), " the": LOG(0.1)})
    assert found.mass == pytest.approx(0.6)
    made = found.with_exact(1, LOG(0.05))
    assert made.exact == (True, True)
    assert made.mass == pytest.approx(0.65)


CLASHES = [("A", "Apple"), ("true", "True"), ("mostly true", "Mostly false"), ("1", "10")]


@pytest.mark.parametrize("names", CLASHES)
def test_names_that_one_token_cannot_tell_apart_are_refused(names):
    with pytest.raises(InputError, match="framing `letters`"):
        check_names(names)
    check_names(names, [FirstToken(1, frozenset({1})), FirstToken(2, frozenset({2, 3}))])


def test_the_tokenizer_decides_where_it_is_known():
    check_names(("True", "False"))
    shared = [FirstToken(1, frozenset({1, 5})), FirstToken(5, frozenset({5}))]
    with pytest.raises(InputError, match=r"'True' and 'False'.* on http://x"):
        check_names(("True", "False"), shared, "http://x")
    for name in ("", " A", "A "):
        with pytest.raises(InputError, match="empty or begins or ends with a space"):
            check_names((name, "B"))


# ---- recorded answers of real servers ---------------------------------------------------------

WIRE = Path(__file__).parent / "wire"
CASES = [json.loads(line) for line in (WIRE / "requests.jsonl").read_text().splitlines()]
ASKED = [
    case
    for case in CASES
    if case["path"].endswith("completions") and case["status"] == 200 and "logprobs" in case["body"]
]
NONE_GIVEN = {"llamacpp_chat_logprobs_only"}  # needs top_logprobs besides; echo is never sent


@pytest.mark.parametrize("case", ASKED, ids=lambda case: case["case"])
def test_every_recorded_answer_is_read(case):
    answer = json.loads((WIRE / f"{case['case']}.json").read_text())
    if case["case"] in NONE_GIVEN or "echo" in case["body"]:
        with pytest.raises((NoLogprobs, AnswerError)):
            next_tokens(answer)
        return
    tokens = next_tokens(answer)
    body = case["body"]
    k = body["top_logprobs"] if body["logprobs"] is True and "top_logprobs" in body else 1
    k = k if body["logprobs"] is True else body["logprobs"]
    named = body.get("logprob_token_ids", [])
    assert 1 <= len(tokens) <= max(k, len(named)) + 1
    assert math.fsum(math.exp(t.logprob) for t in tokens) <= 1 + 1e-5
    assert sampled_token(answer) in [t._replace(sampled=False) for t in tokens]
    found = read_labels(tokens, ("False", "True"), top=not named)
    assert all(value <= 0 for value in found.logprobs)


@pytest.mark.parametrize("server", ["vllm", "llamacpp"])
def test_recorded_forced_labels_agree_with_named_ones(server):
    forced = json.loads((WIRE / f"{server}_completions_forced_label.json").read_text())
    named = json.loads((WIRE / "vllm_completions_label_ids.json").read_text())
    exact = read_labels(next_tokens(named), ("False", "True"), top=False)
    assert exact.exact == (True, True)
    assert sampled_token(forced).text == " True"
    assert sampled_token(forced).logprob == pytest.approx(exact.logprobs[1], abs=1e-3)
    by_id = json.loads((WIRE / "vllm_completions_label_ids_as_ids.json").read_text())
    first = [FirstToken(611, frozenset({611})), FirstToken(609, frozenset({609}))]
    again = read_labels(next_tokens(by_id), ("False", "True"), first, top=False)
    assert again.logprobs == exact.logprobs


@pytest.mark.parametrize("case", [c["case"] for c in CASES if c["case"].endswith("no_logprobs")])
def test_recorded_answers_without_log_probabilities(case):
    with pytest.raises(NoLogprobs):
        next_tokens(json.loads((WIRE / f"{case}.json").read_text()))


def test_a_name_in_other_letters_does_not_hide_its_beginning():
    listed = {" OFF": -0.1, " NOT": -2.5, " offensive": -6.0, " A": -7.0}
    found = read(listed, ("OFFENSIVE", "NOT"))
    assert found.exact == (True, True)
    assert found.logprobs[0] == pytest.approx(added(-0.1, -6.0))
    without = {token: value for token, value in listed.items() if token != " offensive"}
    alone = read(without, ("OFFENSIVE", "NOT"))
    assert alone.logprobs[0] == pytest.approx(-0.1)
    # As it is written it is there: then its beginning is that of other words.
    whole = read({"OFFENSIVE": -1.0, "OFF": -2.0, "NOT": -3.0}, ("OFFENSIVE", "NOT"))
    assert whole.logprobs[0] == pytest.approx(-1.0)
