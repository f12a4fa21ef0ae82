"""A made-up task for descriptions, and a pseudo model that can describe it and sort by words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from consilience.data.dataset import Dataset, Example
from consilience.data.task import Task
from made_up import ANIMALS, PLACES
from wire_model import PseudoModel, number_of

STATES = ("cold", "warm", "damp")


def told(count: int = 60, k: int = 2) -> list[dict[str, str]]:
    """Rows of claims about a state, which is what the classes differ in; six to a group."""
    rows = []
    for i in range(count):
        animal, place = ANIMALS[i % len(ANIMALS)], PLACES[i % len(PLACES)]
        claim = f"The {animal} number {i} at {place} is {STATES[i % k]}"
        rows.append({"claim": claim, "about": f"topic {i // 6}"})
    return rows


def data(count: int = 60, k: int = 2) -> Dataset:
    """The claims as a data set."""
    examples = [Example(row["claim"], group=row["about"]) for row in told(count, k)]
    task = Task() if k == 2 else Task("Which?", STATES, None, None)
    return Dataset("states", examples, task=task)


def shown_in(prompt: str) -> list[tuple[int, list[str]]]:
    """The groups that a prompt shows, in its order: the number of each, and its items."""
    found = re.findall(r"Group (\d):\n((?:- .*\n)+)", prompt)
    return [(int(number), items.splitlines()) for number, items in found]


def honest(prompt: str) -> str:
    """What separates the groups of a prompt."""
    state = {n: s for n, items in shown_in(prompt) for s in STATES if items[0].endswith(s)}
    words = [f"Group {n} items are {state[n]}" for n in sorted(state)]
    said = ", and ".join(words) + "."
    return said if "<|" in prompt else said.removeprefix("Group 1")


def lying(prompt: str) -> str:
    """The same the wrong way round."""
    turned = {"warm": "cold", "cold": "warm"}
    return re.sub("warm|cold", lambda m: turned[m[0]], honest(prompt))


def idle(prompt: str) -> str:
    """A story that has nothing to do with the items."""
    return " holds what is said, and the other what is meant."


@dataclass(frozen=True)
class Sorter(PseudoModel):
    """Sorts by a description's own words; asked about claims, it believes those that say warm."""

    def _believes(self, text: str) -> dict[str, float]:
        turns = [turn for turn in re.split(r"<\|\w+\|>", text) if turn.strip()]
        target, _, lead = turns[-1].rsplit("\n\n", 1)[-1].rpartition("\n")
        groups = dict(re.findall(r"Group (\d) items are (\w+)", text))
        # What is asked to see how a server answers is about no state at all.
        state = (target.split() or [""])[-1]
        if listed := dict(re.findall(r"^([A-Z])\. Group (\d)", text, re.MULTILINE)):
            return {next((a for a, n in listed.items() if groups.get(n) == state), "A"): 30.0}
        if asked := re.search(r"belongs to Group (\d)", lead):
            by_words = groups.get(asked[1]) == state
            true = by_words if groups else number_of("guess", target) % 2 == int(asked[1]) - 1
        else:
            true = (state == "warm") ^ ("wrong" in lead)
        return {str(true): 30.0}
