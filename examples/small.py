"""Ten labels from fifty predictions, in this process: uv run python examples/small.py."""

import time
from itertools import product

import numpy as np

import consilience as cs
from consilience.evidence.collect import collect
from consilience.store.rows import Prediction

# What is right is here to make up the model's answers, and to count at the end; no label sees it.
CLAIMS = {
    **{"3 + 4 = 7": True, "6 * 7 = 42": True, "5 + 8 = 13": True, "9 * 3 = 27": True},
    **{"9 - 5 = 3": False, "8 / 2 = 6": False, "7 - 4 = 4": False, "9 / 3 = 2": False},
    **{"2 + 9 = 11": True, "4 * 6 = 26": False},
}
framing = cs.Framing("plain", "plain", "Is it right?", "Right:", ("False", "True"))
data = cs.Dataset("sums", [cs.Example(claim) for claim in CLAIMS])
right = [CLAIMS[claim] for claim in data.texts]  # a data set is in the order of its ids
rng = np.random.default_rng(4)  # over the seeds 0 to 29, 8.0 hunches and 9.5 labels are right


def ask(target: int, shots: list[tuple[int, int]], repeat: int = 0) -> tuple[cs.Query, Prediction]:
    """A made-up model: a weak hunch without shots, and with shots it goes along with them."""
    lead = np.mean([1 if label == right[j] else -1 for j, label in shots]) if shots else 0.2
    odds = (3.0 if right[target] else -3.0) * lead + 0.7 * rng.normal()
    shown = tuple((data.ids[j], label) for j, label in shots)
    query = cs.Query(data.ids[target], shown, repeat=repeat)
    logprobs = (-np.logaddexp(0, odds), -np.logaddexp(0, -odds))
    return query, Prediction(
        key=str(query),  # a store derives it from the prompt
        query=query,
        label_names=framing.label_names,
        logprobs=logprobs,
        exact=(True, True),
        mass=1.0,
        usage={},
        seconds=0.0,
    )


first = [ask(i, []) for i in range(10)]
hunch = [int(np.argmax(prediction.logprobs)) for _, prediction in first]
second = []
for repeat, i in product(range(4), range(10)):
    others = rng.choice([j for j in range(10) if j != i], size=3, replace=False)
    second.append(ask(i, [(j, hunch[j]) for j in others], repeat))
evidence = collect(data, [framing], [first, second])

began = time.perf_counter()
terms = cs.default_terms() | {"even": cs.Term(lambda s: -((s.q[:, 1].mean() - 0.5) ** 2), 0.3)}
solution = cs.solve(evidence, terms, seed=0)
took = time.perf_counter() - began

for claim, guess, (_, p) in zip(data.texts, hunch, solution.labels, strict=True):
    print(f"{claim:<11} hunch {bool(guess)!s:<6} label {bool(p > 0.5)!s:<6} p(True) {p:.2f}")
print(f"right: {np.sum(np.equal(hunch, right))} hunches, ", end="")
print(f"{np.sum((solution.labels[:, 1] > 0.5) == right)} labels")
print(f"{evidence.t} predictions, {took:.2f} s. {solution.result.value}")
