"""Corrections: labels that the user changed, held fixed while all others are solved again.

Nothing is asked. A correction is a fact about one row; it is no sample of them, because rows are
corrected where they are doubtful, so it calibrates nothing (`landmarks` do, which are drawn).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from consilience.data.dataset import Dataset
from consilience.data.frames import free_name
from consilience.data.random_streams import generator
from consilience.data.readers import read_rows
from consilience.data.relations import active_relations
from consilience.errors import InputError
from consilience.evidence.implied_classes import broken_by
from consilience.evidence.relation_factors import factors
from consilience.results.kept_labels import keep_labels
from consilience.results.landmarks import label_column, vouched_labels
from consilience.results.solved import solve_all
from consilience.store.database import Store
from consilience.store.schema import TAKEN_BACK

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from consilience.results.result import Found

CORRECTION = "correction"
"""The column of a review that the user fills in."""


OF_RUN = "consilience_run"
"""The column in which the corrections of a report say what they are of."""


def run_named(found: Found) -> str:
    """What that column has: never a number, which a spreadsheet would write otherwise."""
    return f"run {found.run.id} of {found.dataset.fingerprint}"


def take_back(dataset: Dataset) -> str:
    """What stands in the place of a class where a correction is taken back: "take back"."""
    return free_name("take back", dataset.task.classes)


def read_corrections(source: object, dataset: Dataset) -> dict[str, int]:
    """The classes in a mapping of ids to classes, in rows or in a file, by example id.

    A class is its name or its number. Of rows the column `correction` counts, of several that
    reviews have added the last, and without one the column `label`; a row where it is empty
    corrects nothing. None in a mapping, and `take_back` in rows, take an earlier correction back:
    `TAKEN_BACK`. InputError where there is none, and where a file is of a run of other examples or
    classes.
    """
    if isinstance(source, str | Path):
        _check_of(source, dataset)
    back = take_back(dataset)
    if isinstance(source, Mapping):
        source = {id: back if label is None else label for id, label in source.items()}
    said = vouched_labels(source, dataset, added=CORRECTION, more={back: TAKEN_BACK})
    if not said:
        raise InputError(
            f"nothing is corrected: no row has a {CORRECTION}; write the right class into that "
            "column where a label is wrong"
        )
    return {dataset.ids[at]: label for at, label in said.items()}


def _check_of(path: str | Path, dataset: Dataset) -> None:
    """InputError where a file says that it corrects a run of another data set."""
    table = read_rows(path)
    said = {table.cell(i, OF_RUN) for i in range(len(table)) if OF_RUN in table.columns} - {None}
    others = [name for name in said if name and not name.endswith(f" of {dataset.fingerprint}")]
    if others:
        raise InputError(
            f"{path} corrects {min(others).partition(' of ')[0]}, which is of other examples or "
            "classes than this one; name its --store and --run"
        )


def check_possible(dataset: Dataset, corrections: Mapping[str, int], priors: bool) -> None:
    """InputError where relations that must hold forbid labels that the user gave."""
    relations = active_relations(dataset.relations, priors)
    held = {dataset.index[id]: label for id, label in corrections.items()}
    broken = broken_by(factors(relations, dataset.index, dataset.task.k), held, dataset.task.k)
    if broken:
        own = [at for at in broken if at in held]
        rows = ", ".join(dataset.own_id(dataset.ids[at]) for at in own or broken)
        raise InputError(
            f"the relations among the rows {rows} cannot hold with the labels you gave; correct "
            "one of them, or leave the relation out"
        )


def with_corrections(found: Found, source: object) -> Found:
    """The same run solved again with the labels that the user gave; 0 calls.

    They are kept in the store of the run, where it has a file, and are then shown as shots in
    whatever rounds follow. Earlier corrections stay, but those that are taken back: without any
    the labels are what they were.
    """
    if found.calibration is not None:
        raise InputError("these labels are calibrated; correct those as solved, then calibrate")
    data = found.dataset
    new = read_corrections(source, data)
    for id, label in new.items():
        if label == TAKEN_BACK and id not in found.corrections:
            raise InputError(
                f"the correction of {data.own_id(id)} cannot be taken back: it was not corrected; "
                "leave it out"
            )
    told = sorted((dict(found.corrections) | new).items())
    every = {id: label for id, label in told if label != TAKEN_BACK}
    check_possible(data, every, found.run.settings.get("priors", False))
    if found.place is not None:
        with Store(Path(found.place)) as store:
            store.save_corrections(data, new)
    evidence = found.evidence.holding({data.index[id]: label for id, label in every.items()})
    made = solve_all(evidence, found.terms, found.solver, found.concepts, seed=found.run.seed)
    solved = replace(found, evidence=evidence, corrections=every, **made._asdict())
    if found.place is not None:
        with Store(Path(found.place)) as store:
            keep_labels(solved, store)
    return solved


def review_table(found: Found, count: int | None = None) -> pd.DataFrame:
    """The user's rows with their labels and an empty column `correction`, the doubtful first.

    `count` is how many, None for all. What was corrected before is not shown. Rows without a label
    come first, then those by how close their two likeliest classes are, in nats of log-odds, less
    their epistemic uncertainty: what the evidence contradicts itself about.
    """
    import pandas as pd

    data, table = found.dataset, found.table()
    examples = data.ids if data.origin is None else data.origin.examples
    doubt = doubts(found)[[data.index[id] for id in examples]]
    order = np.argsort(-doubt, kind="stable")
    order = order[[examples[row] not in found.corrections for row in order]]
    shown = table.iloc[order[:count]].reset_index(drop=True)
    name = free_name(CORRECTION, list(shown.columns))
    return pd.concat([shown, pd.Series([""] * len(shown), name=name, dtype=object)], axis=1)


def doubts(found: Found) -> NDArray[np.float64]:
    """How doubtful each label is, (N,): higher is more; infinite where there is no label."""
    ordered = np.sort(np.maximum(found.soft_labels, 1e-12), axis=1)
    margin = np.log(ordered[:, -1]) - np.log(ordered[:, -2])
    doubt = found.uncertainty.epistemic - margin
    none = found.labels["label"].isna().to_numpy()
    return np.asarray(np.where(none, np.inf, doubt))


def draw_landmarks(found: Found, count: int, seed: int = 0) -> pd.DataFrame:
    """`count` rows drawn at random, in the order of the table, with an empty column `label`.

    It is called `consilience_label` where the data set's own ids or texts are in `label`.

    Each example is drawn at most once, whatever its label: who labels them and gives them back as
    landmarks calibrates probabilities and estimates shares (`estimation`). Nothing that was found
    is shown beside them, so that it sways nobody. InputError for more than there are.
    """
    from consilience.data.frames import own_rows

    frame, at = own_rows(found.dataset)
    first = {example: row for row, example in reversed(list(enumerate(at)))}
    if not 1 <= count <= len(first):
        raise InputError(f"{count} landmarks cannot be drawn from {len(first)} different texts")
    drawn = generator(seed, "landmarks").choice(sorted(first), size=count, replace=False)
    shown = frame.iloc[sorted(first[i] for i in drawn.tolist())].reset_index(drop=True)
    name = label_column(found.dataset)
    if name in shown.columns:
        # Gold of the user's own, perhaps; it is not to be copied.
        shown = shown.drop(columns=name)
    shown[name] = ""
    return shown
