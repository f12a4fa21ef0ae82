# %% [markdown]
# A model, a term of the objective and pictures of your own, cell by cell. `examples/notebook.py` is
# this page as a file that Jupyter (with Jupytext), VS Code, PyCharm and Spyder open as a notebook.
#
# **The data**: reviews of films whose words say how they are meant. Gold stays apart, for scoring.

# %%
import math
from itertools import combinations
from typing import Literal

import matplotlib.pyplot as plt

import consilience as cs
from consilience.results.plots import plot_calibration, plot_labels, plot_pulls, plot_rounds

LIKED = ["lovely", "splendid", "moving", "funny", "clever", "gripping", "superb", "tender", "witty"]
LOATHED = ["dull", "clumsy", "tedious", "awful", "stale", "shallow", "noisy", "dreary", "hollow"]
rows = [
    {"id": f"{a}-{b}", "review": f"It was {a} and {b}.", "meant": meant}
    for words, meant in ((LIKED, "good"), (LOATHED, "bad"))
    for a, b in combinations(words, 2)
]
task = cs.Task(question="Was the film good or bad?", classes=("bad", "good"))
data = cs.Dataset.from_records(rows, text="review", id="id", task=task)
gold = cs.Gold.from_records(rows, text="review", label="meant", classes=task.classes)
data

# %% [markdown]
# **A model of your own** is anything with a name, a style, settings and `async ask`. This one knows
# four words; of the others it learns from the shots that share a word with the target.

# %%
KNOWN = {"lovely": 1.5, "funny": 1.0, "dull": -1.5, "awful": -1.0}


class Reader:
    """Knows four words, and learns the others from shots."""

    name, settings = "reader", {"known": sorted(KNOWN)}
    style: Literal["text"] = "text"

    async def ask(self, request: cs.Request) -> cs.Answer:
        """The answer to one request: how probable each label is after its prompt."""
        blocks = [
            block for block in str(request.prompt).split("\n\n") if block.startswith("It was")
        ]
        *shots, (target, _) = [block.split("\n") for block in blocks]
        words = set(target[:-1].split()) - {"It", "was", "and"}
        odds = sum(KNOWN.get(word, 0.0) for word in words)
        for text, answer in shots:
            shared = len(words & set(text[:-1].split()))
            odds += shared if answer.endswith("good") else -shared
        logprobs = (-math.log1p(math.exp(odds)), -math.log1p(math.exp(-odds)))
        return cs.Answer(logprobs, exact=(True, True), mass=1.0)


# %% [markdown]
# **A term of your own** is a function of the state (`q` are the soft labels, examples by classes)
# and a weight, in a dictionary beside the usual ones. This one says that half of all are good.

# %%
terms = cs.default_terms() | {"half": cs.Term(lambda s: -((s.q[:, 1].mean() - 0.5) ** 2), 0.3)}
found = cs.elicit(data, Reader(), calls_per_example=6, terms=terms)
scores = cs.evaluate(found, gold)
print(scores)

# %% [markdown]
# **Looking**: a result shows itself; tables are pandas frames; pictures take an Axes and return it.

# %%
found

# %%
found.table().head()

# %%
found.rounds()

# %%
doubtful = found.labels.sort_values("probability")["id"].iloc[0]
found.explain(doubtful).head()

# %%
figure, ((one, two), (three, four)) = plt.subplots(2, 2, figsize=(11, 8))
plot_labels(found, one)
plot_calibration(scores, two)
plot_rounds(found, three)
plot_pulls(found, doubtful, four)
figure.tight_layout()

# %% [markdown]
# **Which term does what**: the same evidence under other objectives, without asking again.

# %%
labels = found.solution.labels.argmax(axis=1)
for name in terms:
    others = {other: term for other, term in terms.items() if other != name}
    moved = cs.solve(found.evidence, others, seed=0).labels.argmax(axis=1) != labels
    print(f"without {name}: {moved.sum()} labels change")
