"""Labels for rows that come after a run, a few calls each, and a run grown by new rows.

A new row is asked under lists of shots that the run has asked already: what each list adds to all
its answers is known from the run's own targets, so that a single answer can be read. The row is
labelled as the run would label it with those answers alone, so its label depends on no other new
row: rows may come in any order and in blocks of any size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from consilience.data.arrays import Floats
from consilience.data.dataset import Dataset, Example
from consilience.data.files import STDIN
from consilience.data.readers import read_rows
from consilience.elicitation.contexts import KnownContext, known_contexts
from consilience.elicitation.few_answers import Answered, FewAnswers
from consilience.elicitation.session import solve_run
from consilience.elicitation.settings import record, settings_from
from consilience.errors import InputError
from consilience.models.base import Model
from consilience.prompts.query import Query
from consilience.results.diagnosis import open_labels
from consilience.results.landmarks import Landmarks
from consilience.results.result import Found
from consilience.store.canary import Canary, canary_for
from consilience.store.database import Store
from consilience.store.runner import CallCounts, Progress, ask, requests

CALLS = 2
"""Calls for each new row, where nothing else is said."""

BLOCK = 256
"""So many rows are asked before their labels are given."""


@dataclass(frozen=True)
class Predicted:
    """Labels of rows that came after a run: soft labels (N, K), and what they took.

    `labels` has the columns of `Found.labels`; who got no answer has no label. A row that the run
    had labelled keeps that label and took no call.
    """

    dataset: Dataset
    soft_labels: Floats
    labels: pd.DataFrame
    asked: CallCounts

    def table(self, *, details: bool = False, decided_only: bool = False) -> pd.DataFrame:
        """The user's rows with label, probability, uncertainty and open, as `Found.table` has."""
        from consilience.data.result_table import result_table

        return result_table(self.dataset, self.labels, details, decided_only)

    def export(
        self, path: str | Path, *, details: bool = False, keep_formulas: bool = False
    ) -> None:
        """Writes `table()` to a CSV, JSONL, Parquet or XLSX file, by its suffix."""
        from consilience.data.export import write_table

        write_table(self.table(details=details), path, keep_formulas=keep_formulas)


def predict(
    found: Found,
    rows: object,
    model: Model,
    *,
    calls: int = CALLS,
    store: str | Path | Store | None = None,
    concurrency: int = 16,
    progress: Progress | None = None,
) -> Predicted:
    """The labels of rows that come after a run; what is asked goes into the same store.

    `rows` are a file, a table or a Dataset with the text and id columns of the run's table;
    each row is asked under `calls` lists of shots. `store` is that of the run, needed if the run
    is in memory. InputError if the model is not that of the run.
    """
    with ExitStack() as stack:
        labeller = _Labeller(found, model, _opened(found, store, stack), calls)
        data = rows_like(found, rows)
        parts = [
            labeller.label(data, block, concurrency, progress) for block in _blocks(data, BLOCK)
        ]
    return _together(data, parts)


def predict_blocks(
    found: Found,
    rows: object,
    model: Model,
    *,
    calls: int = CALLS,
    block: int = BLOCK,
    store: str | Path | Store | None = None,
    concurrency: int = 16,
    progress: Progress | None = None,
) -> Iterator[Predicted]:
    """The same, block by block in the order of the rows, each as soon as it is answered."""
    with ExitStack() as stack:
        labeller = _Labeller(found, model, _opened(found, store, stack), calls)
        data = rows_like(found, rows)
        for ids in _blocks(data, block):
            origin = data.origin and data.origin.within(set(ids))
            examples = [data.examples[data.index[id]] for id in ids]
            part = Dataset(data.name, examples, task=data.task, origin=origin)
            yield _together(part, [labeller.label(data, ids, concurrency, progress)])


def extend(
    found: Found,
    rows: object,
    model: Model,
    *,
    calls: int = CALLS,
    store: str | Path | Store | None = None,
    concurrency: int = 16,
    progress: Progress | None = None,
) -> Found:
    """The run of a table that has grown: only new rows are asked, and all labels solved again.

    `rows` are the whole grown table (for relations among its new rows, a Dataset that has them).
    Answers about the old rows count as they are. It is a run of its own in the same store, and is
    calibrated by the landmarks of a run that was. InputError where rows of the run are missing or
    none is new, and of several runs solved together.
    """
    data = rows_like(found, rows).with_relations(found.dataset.relations)
    new = _new_rows(found, data)
    settings = replace(settings_from(found.run.settings), census=0.0)
    framings = settings.framings_for(data)
    if [f.name for f in framings] != [f.name for f in found.framings]:
        raise InputError("several runs solved together cannot be extended; extend one of them")
    with ExitStack() as stack:
        db = _opened(found, store, stack)
        contexts = _as_recorded(_chosen(found, model, db, calls), found)
        asking = requests(_queries(new, contexts), _texts(found, data), framings, model)
        planned = list(asking)
        canary = canary_for(model, db, len(planned))
        asked = ask(planned, model, db, concurrency=concurrency, progress=progress, canary=canary)
        counts = set(found.evidence.predictions.keys)
        before = [
            [(key, query) for key, query in asked_then if key in counts]
            for asked_then in db.rounds(found.run.id)
        ]
        plan = [*filter(None, before), [(key, request.query) for key, request in planned]]
        kept = record(settings, found.terms, found.solver)
        run = db.start_run(data, model, {**kept, "extends": found.run.id}, found.run.seed)
        db.save_corrections(data, found.corrections)
        for number, queries in enumerate(plan):
            db.add_round(run, number, queries)
        made = solve_run(db, run, data, settings, found.terms, found.solver)
    grown, calibration = replace(made, asked=asked), found.calibration
    if calibration is None:
        return grown
    marks = calibration.landmarks
    vouched = Landmarks.recorded(dict(zip(marks.ids, marks.classes, strict=True)), data)
    return grown.calibrated(vouched, calibration.method)


def _as_recorded(contexts: Sequence[KnownContext], found: Found) -> list[KnownContext]:
    """The contexts with the classes of their shots as recorded, before landmarks named them."""
    order = found.orientation.order if found.orientation else range(found.dataset.task.k)
    return [replace(c, shots=tuple((id, order[label]) for id, label in c.shots)) for c in contexts]


def _new_rows(found: Found, data: Dataset) -> list[str]:
    """The ids that a grown table adds to those of the run; InputError where it has not grown."""
    missing = [id for id in found.dataset.ids if id not in data.index]
    new = [id for id in data.ids if id not in found.dataset.index]
    if missing or not new:
        said = f"{len(missing)} rows of the run are not in it" if missing else "no row is new"
        raise InputError(f"the table cannot extend run {found.run.id}: {said}; see `predict`")
    return new


def rows_like(found: Found, rows: object) -> Dataset:
    """The data set in a file or a table whose columns are called as those of the run were."""
    if isinstance(rows, Dataset):
        if rows.task != found.dataset.task:
            raise InputError("these rows have another task than the run; give them the same one")
        return rows
    origin = found.dataset.origin
    file = Path(rows) if isinstance(rows, str | Path) and str(rows) != STDIN else None
    table = read_rows(rows) if isinstance(rows, str | Path) else rows
    named = getattr(table, "columns", None)
    columns = list(getattr(table, "column_names", ()) if named is None else named)
    return Dataset.from_records(
        table,
        text=origin.text if origin else "text",
        id=origin.id if origin and origin.id in columns else None,
        task=found.dataset.task,
        name=file.stem if file else "rows",
        source=str(file.absolute()) if file else "",
    )


def _opened(found: Found, store: str | Path | Store | None, stack: ExitStack) -> Store:
    place = found.place if store is None else store
    if place is None:
        raise InputError("the run is in memory: give the store that it was asked in")
    return place if isinstance(place, Store) else stack.enter_context(Store(place))


def _blocks(data: Dataset, size: int) -> Iterator[list[str]]:
    """The ids of the examples in the order of their rows, so many at a time."""
    ids = list(dict.fromkeys(data.origin.examples if data.origin else data.ids))
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _texts(found: Found, data: Dataset) -> Dataset:
    """The examples of both, to be rendered."""
    texts = (*found.dataset.texts, *data.texts)
    return Dataset("texts", map(Example, texts), task=data.task)


def _queries(ids: Sequence[str], contexts: Sequence[KnownContext]) -> list[Query]:
    """Each row under each context; those of a context together, as they share its whole prompt."""
    return [Query(id, context.shots, context.framing) for context in contexts for id in ids]


def _chosen(found: Found, model: Model, store: Store, calls: int) -> list[KnownContext]:
    """The contexts that new rows are asked in."""
    if calls < 1:
        raise InputError(f"a new row needs one call or more, got {calls}")
    if model.name != found.run.model:
        raise InputError(
            f"the run asked {found.run.model}, not {model.name}; what a list of shots adds to "
            "answers is known of that model alone"
        )
    return known_contexts(found, store)[:calls]


class _Labeller:
    """Asks about new rows and reads the answers as the run read its own."""

    def __init__(self, found: Found, model: Model, store: Store, calls: int) -> None:
        self.found, self.model, self.store = found, model, store
        self.contexts = _chosen(found, model, store, calls)
        self.canary: Canary | None = None
        self.reader = FewAnswers(found, calls)
        # What relations or landmarks say of a row without an answer stays said.
        self.unlabelled = found.labels["label"].isna().to_numpy()

    def label(
        self,
        data: Dataset,
        ids: Sequence[str],
        concurrency: int,
        progress: Progress | None,
    ) -> tuple[pd.DataFrame, CallCounts]:
        """Soft labels, uncertainty, number of predictions, and who has no label, by id."""
        k, known = data.task.k, self.found.dataset.index
        new = [id for id in ids if id not in known]
        queries = _queries(new, self.contexts)
        planned = requests(queries, _texts(self.found, data), self.found.framings, self.model)
        # Blocks of rows share one, from the first that is no small one.
        self.canary = self.canary or canary_for(self.model, self.store, len(planned))
        asked = ask(
            planned, self.model, self.store, concurrency=concurrency, progress=progress,
            canary=self.canary,
        ) if planned else CallCounts()  # fmt: skip
        given = iter(self.store.predictions(planned.all_keys))
        answers: dict[str, list[Answered]] = {id: [] for id in ids}
        for context in self.contexts:
            for id in new:
                said = next(given)
                if said is not None and any(said.exact):
                    raw = np.array(said.logprobs)
                    z = raw - raw.mean() - context.offset
                    answers[id].append(Answered(z, context.weight, context.relevance))
        columns = [
            *(f"p{c}" for c in range(k)),
            "epistemic",
            "aleatoric",
            "predictions",
            "none",
            "label",
        ]
        found = []
        for id in ids:
            if id in known:
                at = known[id]
                unsure = self.found.uncertainty
                counted = int((self.found.evidence.predictions.target == at).sum())
                parts = (unsure.epistemic[at], unsure.aleatoric[at], counted, self.unlabelled[at])
                found.append([*self.found.soft_labels[at], *parts, self.found.hard_labels[at]])
            elif answers[id]:
                read = self.reader.read(answers[id])
                found.append([*read, len(answers[id]), False, int(np.argmax(read[:k]))])
            else:
                found.append([*np.full(k, 1 / k), 0.0, float(np.log(k)), 0, True, 0])
        return pd.DataFrame(found, columns=columns, index=list(ids)), asked


def _together(data: Dataset, parts: Sequence[tuple[pd.DataFrame, CallCounts]]) -> Predicted:
    """The labels of all blocks in the order of the data set."""
    frame = pd.concat([frame for frame, _ in parts]).loc[list(data.ids)]
    names, k = data.task.classes, data.task.k
    soft, none = frame.iloc[:, :k].to_numpy(dtype=np.float64), frame["none"].to_numpy(dtype=bool)
    hard = frame["label"].to_numpy(dtype=np.int64)
    labels = pd.DataFrame(
        {
            "id": list(data.ids),
            "label": pd.array(hard, dtype="Int64"),
            "name": [names[c] for c in hard],
            "probability": soft[np.arange(len(soft)), hard],
            "epistemic": frame["epistemic"].to_numpy(),
            "aleatoric": frame["aleatoric"].to_numpy(),
            "predictions": frame["predictions"].to_numpy(),
            "open": open_labels(soft) | none | (hard != soft.argmax(axis=1)),
        }
        | {f"p_{name}": soft[:, c] for c, name in enumerate(names)}
    )
    labels.loc[none, ["label", "name"]] = None
    labels.loc[none, ["probability", *(f"p_{name}" for name in names)]] = np.nan
    asked = sum((asked for _, asked in parts), CallCounts())
    return Predicted(data, soft, labels, asked)
