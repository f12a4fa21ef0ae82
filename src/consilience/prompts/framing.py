"""Framings, and the prompt that puts a target and its shots to a model.

A framing is a way to put the question and a choice of which string stands for which class. All
prompts are built in one order, instruction, shots, target, so that targets which share their
shots share a prefix, which every server of note serves from its cache. Everything here is a pure
function: the same query gives the same bytes.

The label follows a lead such as "The claim is right:" without a trailing space: tokenisers put
the space into the label's own token, and a prompt that ends in one is off the model's
distribution.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

from consilience.data.task import Task
from consilience.errors import InputError, check_kind
from consilience.prompts.datatext import as_data

Style = Literal["text", "chat", "chat-prefill"]
"""How a model takes a prompt: one text; messages; messages that end in an assistant's lead."""

Prompt = str | list[dict[str, str]]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

BRANCH = 16
"""Letters that a code may go on with: a list of 20 log-probabilities, as servers give, has room."""


@dataclass(frozen=True, slots=True)
class Framing:
    """One way to put the question.

    `label_names[c]` is the string that stands for class c. Framings of one `family` ask the same
    thing with the names moved round; over the whole family each name stands for each class
    equally often, which is what lets the liking for a name be told from the signal.
    `semantic` says that the names mean something before any shot is seen, so that the framing can
    be asked zero-shot and says which way round the labels are.
    """

    name: str
    family: str
    instruction: str
    lead: str
    label_names: tuple[str, ...]
    semantic: bool = True


def framings(
    task: Task, names: Sequence[str | Framing] | None = None, anchor: str | None = None
) -> tuple[Framing, ...]:
    """The framings of the named families for a task; by default the natural ones of the task.

    A `Framing` among the names is one of the user's own, asked as it is.

    Families: ``names`` (the classes by their names, listed both ways round), ``plain`` (the
    statement, True or False), ``negated`` (its opposite; two classes only), ``letters`` (classes
    listed behind letters, once for each rotation of the letters), ``codes`` (classes, however many,
    listed behind codes of one or more letters, "B C", forwards and backwards) and ``sets`` (letters
    with no hint what they mean, or only `anchor`, a description of what the sets differ in; once
    for each rotation).

    The natural one is `names`, or where names begin alike, so that one next token cannot tell them
    apart (see `told_apart`), `letters`, and `codes` where there are more classes than letters. On
    pretrained models of up to 1.5 billion parameters names carried more than the statement on every
    set, and negations and letters were beyond them (`docs/development/log.md`).

    Where a task has a statement without its opposite, `negated` is left out beside other families.
    An instruction of the task and descriptions of its classes stand in all but ``sets``.
    """
    if names is None:
        alike = "letters" if task.k <= len(LETTERS) else "codes"
        names = ("names" if told_apart(task) else alike,)
    own = [_own(framing, task) for framing in names if isinstance(framing, Framing)]
    named = [name for name in names if isinstance(name, str)]
    unknown = [name for name in names if not isinstance(name, Framing) and name not in named]
    unknown += [name for name in named if name not in _MAKERS]
    if unknown or not names:
        raise InputError(f"no framing {unknown}; the framings are: {', '.join(_MAKERS)}")
    if len(set(named)) != len(named):
        raise InputError(f"a framing is named twice: {', '.join(named)}")
    if anchor and "sets" not in named:
        raise InputError("an anchor describes neutral sets; add the framing `sets`")
    if task.statement and not task.opposite and len(names) > 1:
        named = [name for name in named if name != "negated"]
    made = (*chain.from_iterable(_MAKERS[name](task, anchor) for name in named), *own)
    called = [framing.name for framing in made]
    if len(set(called)) < len(called):
        raise InputError(f"two framings have one name: {', '.join(called)}; rename one of them")
    return made


def _own(framing: Framing, task: Task) -> Framing:
    """A framing of the user's own; InputError where it does not fit the task."""
    for field in ("name", "family", "instruction", "lead"):
        words = getattr(framing, field)
        check_kind(words, str, f"the {field} of a framing is a text")
        if not words.strip():
            raise InputError(f"framing {framing.name!r} has an empty {field}; write one")
    check_kind(framing.semantic, bool, "whether the names of a framing mean something is a bool")
    check_kind(framing.label_names, (tuple, list), "the label names of a framing are a tuple")
    names = tuple(framing.label_names)
    for name in names:
        check_kind(name, str, f"a label name of framing {framing.name!r} is a text")
    if len(names) != task.k or len(set(names)) < task.k or not all(map(str.strip, names)):
        raise InputError(
            f"framing {framing.name!r} has the label names {names}; it needs {task.k} that differ, "
            f"one for each of: {', '.join(task.classes)}"
        )
    return replace(framing, label_names=names)


def _plain(task: Task, anchor: str | None) -> list[Framing]:
    if task.statement is None:
        raise InputError(
            "the framing `plain` needs a task with a `statement` that is true of one class; use "
            "`names`"
        )
    names = ("False", "True")
    text = (
        f"{_question(task)} After each one stands the sentence "
        f'"{task.statement}", marked True or False.{_described(task, names)}'
    )
    return [Framing("plain", "wording", text, f"{task.statement}:", names)]


def _names(task: Task, anchor: str | None) -> list[Framing]:
    made = []
    # What is listed last, or first, is liked for its place; both ways round that evens out.
    for r, listed in enumerate((task.classes, task.classes[::-1])):
        text = f"{_question(task)} Answer with one of: {_listed(listed)}."
        text += _described(task, task.classes, backwards=r == 1)
        made.append(Framing(f"names-{r}", "names", text, "Answer:", task.classes))
    return made


def _question(task: Task) -> str:
    """The question, with the instruction of the task on lines of its own before it."""
    return f"{task.instruction}\n{task.question}" if task.instruction else task.question


def _described(task: Task, names: Sequence[str], *, backwards: bool = False) -> str:
    """A line for each class that is described: the name that stands for it, what belongs there."""
    pairs = zip(names, task.descriptions, strict=True) if task.descriptions else ()
    lines = [f"\n{name}: {words}" for name, words in pairs if words]
    return "".join(lines[::-1] if backwards else lines)


def _listed(names: Sequence[str]) -> str:
    """Names in one line, between them the first sign that stands in none of them."""
    for between in (", ", "; ", " | "):
        if not any(between.strip() in name for name in names):
            return between.join(names)
    return ", ".join(json.dumps(name, ensure_ascii=False) for name in names)


def told_apart(task: Task) -> bool:
    """Whether the names of the classes begin with different words, and not with the same sign."""
    first = [(name.split() or [""])[0].casefold() for name in task.classes]
    signs = [word[0] for word in first if not word[:1].isalnum()]
    if len(set(signs)) < len(signs):
        return False
    return not any(a.startswith(b) for i, a in enumerate(first) for b in first[:i] + first[i + 1 :])


def _negated(task: Task, anchor: str | None) -> list[Framing]:
    if task.opposite is None:
        raise InputError(
            "the framing `negated` needs a task of two classes with an `opposite` sentence; "
            "use `letters`"
        )
    names = ("True", "False")
    text = (
        f"{_question(task)} After each one stands the sentence "
        f'"{task.opposite}", marked True or False.{_described(task, names)}'
    )
    return [Framing("negated", "wording", text, f"{task.opposite}:", names)]


def _rotations(k: int) -> list[tuple[str, ...]]:
    if k > len(LETTERS):
        raise InputError(
            f"letters can name at most {len(LETTERS)} classes, the task has {k}; use the framing "
            "`codes`, or `names` where those of the classes begin with different words"
        )
    # Class 1 of two is called A first, because "A" is the answer that is usually asked about.
    return [tuple(LETTERS[(r - 1 - c) % k] for c in range(k)) for r in range(2, k + 2)]


def _letters(task: Task, anchor: str | None) -> list[Framing]:
    made = []
    for r, names in enumerate(_rotations(task.k)):
        text = f"{_question(task)} Answer with a letter.\n{_behind(names, task)}"
        made.append(Framing(f"letters-{r}", "letters", text, "Answer:", names))
    return made


def _behind(marks: Sequence[str], task: Task) -> str:
    """A line for each class behind the mark that stands for it, in the order of the marks."""
    words = task.descriptions or ("",) * task.k
    options = sorted(zip(marks, task.classes, words, strict=True))
    return "\n".join(f"{mark}. {name}{f': {said}' if said else ''}" for mark, name, said in options)


def _codes(task: Task, anchor: str | None) -> list[Framing]:
    codes = _code_names(task.k)
    made = []
    for r, names in enumerate((codes, codes[::-1])):
        text = f"{_question(task)} Answer with the code before it.\n{_behind(names, task)}"
        made.append(Framing(f"codes-{r}", "codes", text, "Answer:", names))
    return made


def _code_names(k: int) -> tuple[str, ...]:
    """So many codes in their order, all of equally many letters, with spaces between these.

    A letter after a space is one token for every tokenizer in use, and a number is not: some split
    it into its digits, others put a token of its own before it. No more than `BRANCH` codes go on
    alike from any beginning.
    """
    groups = -(-k // BRANCH)
    if groups == 1:
        return tuple(LETTERS[:k])
    size = -(-k // groups)
    heads = _code_names(groups)
    return tuple(f"{heads[c // size]} {LETTERS[c % size]}" for c in range(k))


def _sets(task: Task, anchor: str | None) -> list[Framing]:
    rotations = _rotations(task.k)
    names = ", ".join(LETTERS[: task.k - 1]) + f" or {LETTERS[task.k - 1]}"
    text = f"Each item belongs to one of the sets {names}. Find the pattern and continue it."
    if anchor:
        text += f" The sets differ in this: {anchor}"
    return [
        Framing(f"sets-{r}", "sets", text, "Set:", rotated, semantic=False)
        for r, rotated in enumerate(rotations)
    ]


_MAKERS = {
    "plain": _plain,
    "names": _names,
    "negated": _negated,
    "letters": _letters,
    "codes": _codes,
    "sets": _sets,
}


def render(
    framing: Framing, target: str, shots: Sequence[tuple[str, int]] = (), style: Style = "text"
) -> Prompt:
    """The prompt for one target text, with `shots` as (text, class) in the order shown.

    ``text`` ends in the lead; ``chat`` gives one exchange per shot, the label alone as the
    answer; ``chat-prefill`` puts the lead into the assistant's turn, so that the last message is
    an assistant's and the server must continue it. Texts are data (see `datatext`): none poses as
    a shot or closes the prompt.
    """
    return render_target(framing, render_shots(framing, shots, style), target, style)


def render_shots(
    framing: Framing, shots: Sequence[tuple[str, int]], style: Style = "text"
) -> Prompt:
    """The part of a prompt that all targets under the same shots share; see `render`."""
    names = framing.label_names
    shown = [(as_data(text, framing.lead), label) for text, label in shots]
    if style == "text":
        blocks = [f"{text}\n{framing.lead} {names[label]}" for text, label in shown]
        return "\n\n".join([framing.instruction, *blocks])
    messages: list[dict[str, str]] = []
    for text, label in shown:
        said = f"{framing.lead} {names[label]}" if style == "chat-prefill" else names[label]
        messages.append(_asked(framing, text, style, first=not messages))
        messages.append({"role": "assistant", "content": said})
    return messages


def render_target(framing: Framing, shared: Prompt, target: str, style: Style = "text") -> Prompt:
    """The prompt for one target after what `render_shots` made; see `render`."""
    target = as_data(target, framing.lead)
    if isinstance(shared, str):
        return f"{shared}\n\n{target}\n{framing.lead}"
    messages = [*shared, _asked(framing, target, style, first=not shared)]
    if style == "chat-prefill":
        messages.append({"role": "assistant", "content": framing.lead})
    return messages


def _asked(framing: Framing, text: str, style: Style, *, first: bool) -> dict[str, str]:
    # The instruction opens the first question: some chat templates refuse a system message.
    head = f"{framing.instruction}\n\n" if first else ""
    asked = text if style == "chat-prefill" else f"{text}\n{framing.lead}"
    return {"role": "user", "content": head + asked}
