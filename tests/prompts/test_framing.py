"""Framings and rendering: what every prompt has in common, and what tells two apart."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest

from consilience.data.task import Task
from consilience.errors import InputError
from consilience.prompts.framing import LETTERS, Framing, Prompt, framings, render
from zoo import task

STYLES = ("text", "chat", "chat-prefill")
SHOTS = [("the sea is dry", 0), ("rain is wet", 1), ("fire is cold", 0)]
TARGETS = ("snow is white", "coal is white")


def every_framing(k: int) -> list[Framing]:
    names = ["names", "letters", "sets"] + (["plain", "negated"] if k == 2 else [])
    return list(framings(task(k), names))


def spoken(prompt: Prompt) -> str:
    """Everything in a prompt, in order."""
    return prompt if isinstance(prompt, str) else "\n".join(m["content"] for m in prompt)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("framing", every_framing(2) + every_framing(3), ids=lambda f: f.name)
def test_instruction_then_shots_in_order_then_target(framing, style):
    said = spoken(render(framing, TARGETS[0], SHOTS, style))
    parts = [framing.instruction, *(text for text, _ in SHOTS), TARGETS[0]]
    places = [said.index(part) for part in parts]
    assert places == sorted(places) and places[0] == 0
    assert all(said.count(part) == 1 for part in parts)
    reverse = spoken(render(framing, TARGETS[0], SHOTS[::-1], style))
    assert reverse.index(SHOTS[2][0]) < reverse.index(SHOTS[0][0])


@pytest.mark.parametrize("framing", every_framing(2) + every_framing(3), ids=lambda f: f.name)
def test_text_shows_each_shot_with_its_label_and_ends_in_the_lead(framing):
    said = render(framing, TARGETS[0], SHOTS)
    for text, label in SHOTS:
        assert f"{text}\n{framing.lead} {framing.label_names[label]}\n" in said
    assert said.endswith(f"{TARGETS[0]}\n{framing.lead}")


def test_text_is_exactly_this():
    said = ("The claim is right", "The claim is wrong")
    asked = Task("True or false?", ("False", "True"), *said)
    plain, one, other, negated = framings(asked, ["plain", "names", "negated"])
    assert render(one, "t", [("s", 0)]) == (
        "True or false? Answer with one of: False, True.\n\ns\nAnswer: False\n\nt\nAnswer:"
    )
    assert other.instruction == "True or false? Answer with one of: True, False."
    assert other.label_names == one.label_names == ("False", "True")
    assert render(negated, "t", [("s", 0), ("u", 1)]) == (
        'True or false? After each one stands the sentence "The claim is wrong", '
        "marked True or False.\n\n"
        "s\nThe claim is wrong: True\n\nu\nThe claim is wrong: False\n\nt\nThe claim is wrong:"
    )
    assert render(plain, "t").endswith("\n\nt\nThe claim is right:")


def test_chat_is_one_exchange_per_shot_with_the_label_alone():
    (framing,) = framings(task(2), ["plain"])
    made = render(framing, "t", SHOTS[:2], "chat")
    assert [m["role"] for m in made] == ["user", "assistant"] * 2 + ["user"]
    assert [m["content"] for m in made[1::2]] == ["False", "True"]
    assert made[0]["content"] == f"{framing.instruction}\n\n{SHOTS[0][0]}\n{framing.lead}"
    assert made[-1]["content"] == f"t\n{framing.lead}"


def test_prefill_ends_in_the_assistants_lead():
    (framing,) = framings(task(2), ["plain"])
    made = render(framing, "t", SHOTS[:2], "chat-prefill")
    assert [m["role"] for m in made] == ["user", "assistant"] * 3
    assert made[1]["content"] == f"{framing.lead} False" and made[3]["content"].endswith(" True")
    assert made[-2:] == [
        {"role": "user", "content": "t"},
        {"role": "assistant", "content": framing.lead},
    ]


@pytest.mark.parametrize("shots", [[], SHOTS], ids=["zero-shot", "shots"])
@pytest.mark.parametrize("framing", every_framing(2) + every_framing(4), ids=lambda f: f.name)
def test_targets_under_the_same_shots_share_all_up_to_the_target(framing, shots):
    one, two = (render(framing, target, shots) for target in TARGETS)
    shared = one[: one.rindex(TARGETS[0])]
    assert two.startswith(shared + TARGETS[1])
    for style, last in (("chat", 1), ("chat-prefill", 2)):
        one, two = (render(framing, target, shots, style) for target in TARGETS)
        assert one[:-last] == two[:-last]
        assert one[-last] != two[-last]
        opened = one[-last]["content"].partition(TARGETS[0])[0]
        assert two[-last]["content"].startswith(opened + TARGETS[1])


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("shots", [[], SHOTS], ids=["zero-shot", "shots"])
def test_no_prompt_and_no_name_ends_in_a_space(style, shots):
    for framing in every_framing(2) + every_framing(5):
        prompt = render(framing, TARGETS[0], shots, style)
        last = prompt if isinstance(prompt, str) else prompt[-1]["content"]
        assert last == last.rstrip() and last.endswith(":")
        assert all(name == name.strip() != "" for name in framing.label_names)


@pytest.mark.parametrize(("k", "listed"), [(2, "A or B"), (3, "A, B or C"), (4, "A, B, C or D")])
def test_the_sets_that_are_named_are_as_many_as_the_classes(k, listed):
    for framing in framings(task(k), ["sets"]):
        assert f"one of the sets {listed}. " in framing.instruction


@pytest.mark.parametrize("k", range(2, 6))
@pytest.mark.parametrize("family", ["letters", "sets"])
def test_rotations_are_a_latin_square(k, family):
    square = [framing.label_names for framing in framings(task(k), [family])]
    letters = set(LETTERS[:k])
    assert len(square) == k
    assert all(set(row) == letters and len(row) == k for row in square)
    assert all(set(column) == letters for column in zip(*square, strict=True))


@pytest.mark.parametrize("k", range(2, 6))
def test_the_letters_listed_are_those_that_stand_for_the_classes(k):
    for framing in framings(task(k), ["letters"]):
        lines = framing.instruction.splitlines()[1:]
        listed = {name: letter for letter, name in (line.split(". ") for line in lines)}
        assert tuple(listed[name] for name in task(k).classes) == framing.label_names
        assert [line[0] for line in lines] == sorted(framing.label_names)


def test_the_negated_wording_swaps_the_names():
    plain, negated = framings(task(2), ["plain", "negated"])
    assert plain.label_names == negated.label_names[::-1] == ("False", "True")
    assert plain.family == negated.family
    assert plain.lead == "The claim is right:" and negated.lead == "The claim is wrong:"


def test_sets_carry_no_hint_but_the_anchor():
    asked = Task("Which hue is it?", ("scarlet", "azure"), "It is azure", "It is scarlet")
    bare = framings(asked, ["sets"])
    hints = ["hue", "scarlet", "azure", "True", "False"]
    for framing in bare:
        said = render(framing, "t", [("s", 1)])
        assert not [hint for hint in hints if hint.lower() in said.lower()]
        assert not framing.semantic
    for framing, without in zip(framings(asked, ["sets"], "warmth"), bare, strict=True):
        assert "warmth" in framing.instruction
        assert framing.instruction.startswith(without.instruction)
    assert all(f.semantic for f in framings(asked, ["plain", "negated", "letters"]))


def test_the_natural_framings_of_a_task():
    assert [f.name for f in framings(task(2))] == ["names-0", "names-1"]
    # "class 0" and "class 1" begin alike: one next token does not tell them apart.
    assert [f.name for f in framings(task(3))] == ["letters-0", "letters-1", "letters-2"]
    topics = Task("What is it about?", ("Sports", "World news", "Business"), None, None)
    assert [f.name for f in framings(topics)] == ["names-0", "names-1"]
    for made in framings(task(3), ["names"]):
        assert made.family == "names" and made.semantic
        assert made.label_names == task(3).classes


@pytest.mark.parametrize(
    ("classes", "distinct"),
    [
        (("yes", "no"), True),
        (("no", "none"), False),
        (("not spam", "Not ham"), False),
        (("spam", "not spam"), True),
        (("a", "b", "ab"), False),
        (("World", "Sports", "Business", "Sci/Tech"), True),
    ],
)
def test_names_that_begin_alike_are_asked_for_by_letters(classes, distinct):
    made = framings(Task("Which?", classes, None, None))
    assert [f.family for f in made] == (["names"] * 2 if distinct else ["letters"] * len(classes))


def test_the_wording_of_a_statement_needs_one():
    with pytest.raises(InputError, match=r"`plain` needs a task with a `statement`.*use `names`"):
        framings(task(3), ["plain"])


WRONG = {
    "unknown": (task(2), ["plain", "sideways"], None, "sideways"),
    "none": (task(2), [], None, "the framings are"),
    "twice": (task(2), ["plain", "plain"], None, "twice"),
    "anchor without sets": (task(2), ["plain"], "warmth", "anchor"),
    "negated with three classes": (task(3), ["negated"], None, "letters"),
    "negated without opposite": (Task(opposite=None), ["negated"], None, "opposite"),
    "too many classes for letters": (task(27), ["letters"], None, "26"),
    "too many classes for sets": (task(27), ["sets"], None, "26"),
}


@pytest.mark.parametrize(("asked", "names", "anchor", "word"), WRONG.values(), ids=WRONG)
def test_a_wrong_option_is_one_line(asked, names, anchor, word):
    with pytest.raises(InputError, match=word) as caught:
        framings(asked, names, anchor)
    assert "\n" not in str(caught.value)


def test_every_framing_and_style_gives_other_bytes():
    made = every_framing(2) + list(framings(task(2), ["sets"], "warmth"))
    bytes_of = {
        (i, style): json.dumps(render(framing, "t", SHOTS, style))
        for (i, framing), style in itertools.product(enumerate(made), STYLES)
    }
    assert len(set(bytes_of.values())) == len(bytes_of) == 30


def test_every_part_of_a_task_reaches_the_prompt():
    base = Task()
    others = [
        replace(base, question="Is it so?"),
        replace(base, classes=("wrong", "right")),
        replace(base, statement="It holds"),
        replace(base, opposite="It fails"),
    ]
    names = ["plain", "negated", "letters"]

    def said(asked: Task) -> str:
        return "".join(render(f, "t", SHOTS) for f in framings(asked, names))

    assert len({said(asked) for asked in [base, *others]}) == 5


# --- framings of one's own


OWN = Framing("mood", "own", "Is the customer glad?", "Glad:", ("no", "yes"))


def test_a_framing_of_ones_own_stands_beside_named_ones():
    assert framings(task(2), [OWN]) == (OWN,)
    both = framings(task(2), [OWN, "letters"])
    assert both == (*framings(task(2), ["letters"]), OWN)
    assert framings(task(2), [replace(OWN, label_names=["no", "yes"])]) == (OWN,)
    # Where a task has no opposite, the negation is left out beside others.
    bare = Task("True or false?", ("False", "True"), "It is right", None)
    assert framings(bare, [OWN, "negated"]) == (OWN,)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([replace(OWN, label_names=("yes",))], r"'mood' has the label names .* it needs 2 that"),
        ([replace(OWN, label_names=("a", "b", "c"))], "it needs 2 that differ"),
        ([replace(OWN, label_names=("yes", "yes"))], "it needs 2 that differ"),
        ([replace(OWN, label_names=("yes", " "))], "it needs 2 that differ"),
        ([replace(OWN, label_names="ab")], "label names of a framing are a tuple; got 'ab'"),
        ([replace(OWN, label_names=(0, 1))], "a label name of framing 'mood' is a text; got 0"),
        ([replace(OWN, lead="")], "framing 'mood' has an empty lead; write one"),
        ([replace(OWN, name=None)], "the name of a framing is a text; got None"),
        ([replace(OWN, semantic="no")], "mean something is a bool; got 'no'"),
        ([OWN, replace(OWN, lead="So:")], "two framings have one name: mood, mood; rename"),
        (["plain", replace(OWN, name="plain")], "two framings have one name: plain, plain"),
        ([OWN, 3], r"no framing \[3\]; the framings are: plain"),
        ([], "no framing"),
    ],
)
def test_framings_of_ones_own_that_do_not_fit(names, said):
    with pytest.raises(InputError, match=said) as caught:
        framings(task(2), names)
    assert "\n" not in str(caught.value)
