"""A store written anew: what is sound of a damaged one, and what some runs need of a whole one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from command import consilience
from consilience.elicitation.session import elicit, solve_run
from consilience.elicitation.settings import Settings
from consilience.errors import StoreError
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.solvers.lbfgs import LBFGS
from consilience.store import recovery
from consilience.store.database import Store
from consilience.store.recovery import collect_garbage, recover
from consilience.store.schema import Planned

ONCE = LBFGS(starts=1)


def asked(path: Path, seeds: tuple[int, ...] = (0,), examples: int = 60) -> list[str]:
    """A store with a run for each seed, of other examples each; the ids of the runs."""
    runs, content = made(seeds, examples)
    path.write_bytes(content)
    return list(runs)


@cache
def made(seeds: tuple[int, ...], examples: int) -> tuple[tuple[str, ...], bytes]:
    """The ids of the runs, and the file of the store."""
    runs = []
    with TemporaryDirectory() as folder:
        for seed in seeds:
            data, _ = world_dataset("easy", examples, seed)
            given = {"settings": Settings(calls_per_example=3), "seed": seed}
            with Store(Path(folder) / "s.db") as store:
                runs.append(elicit(data, SimulatedModel("easy"), store=store, **given).run.id)
        (file,) = Path(folder).iterdir()
        return tuple(runs), file.read_bytes()


def contents(path: Path) -> list[str]:
    with Store(path, readonly=True) as store:
        lines = path.with_suffix(".jsonl")
        store.export_jsonl(lines)
    return sorted(lines.read_text().splitlines())


def test_of_a_sound_store_all_comes_over(tmp_path: Path) -> None:
    asked(tmp_path / "s.db", (0, 1))
    found = recover(tmp_path / "s.db", tmp_path / "new.db")
    assert found.left.total() == 0 and found.reasons == []
    assert contents(tmp_path / "new.db") == contents(tmp_path / "s.db")
    assert (tmp_path / "new.db").stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("*.partial*"))


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_of_a_truncated_store_what_is_there_comes_over(tmp_path: Path, share: float) -> None:
    asked(tmp_path / "s.db", examples=200)
    whole = contents(tmp_path / "s.db")
    size = (tmp_path / "s.db").stat().st_size
    with (tmp_path / "s.db").open("r+b") as file:
        file.truncate(int(size * share) // 4096 * 4096)
    refused = consilience("store", "verify", tmp_path / "s.db", code=1).stderr
    assert "store repair` saves what can be read" in refused and refused.count("\n") == 1
    done = consilience("store", "repair", tmp_path / "s.db", tmp_path / "new.db")
    assert "not all of its rows can be read" in done.stderr
    kept = contents(tmp_path / "new.db")
    assert set(kept) <= set(whole)
    assert len(kept) > 0.3 * share * len(whole)
    with Store(tmp_path / "new.db") as store:
        assert store.verify() == []


@pytest.mark.slow
def test_a_repaired_store_goes_on_to_the_same_labels(tmp_path: Path) -> None:
    (run,) = asked(tmp_path / "s.db", examples=200)
    data, _ = world_dataset("easy", 200)
    settings = Settings(calls_per_example=3)
    with Store(tmp_path / "s.db") as store:
        before = solve_run(store, run, data, settings)
    with (tmp_path / "s.db").open("r+b") as file:
        file.truncate((tmp_path / "s.db").stat().st_size // 2 // 4096 * 4096)
    recover(tmp_path / "s.db", tmp_path / "new.db")
    with Store(tmp_path / "new.db") as store:
        after = elicit(data, SimulatedModel("easy"), settings=settings, store=store)
    assert after.run.id == run
    assert after.asked.known > 0
    np.testing.assert_array_equal(after.solution.labels, before.solution.labels)


def test_a_row_that_does_not_prove_itself_stays_behind(tmp_path: Path) -> None:
    asked(tmp_path / "s.db")
    db = sqlite3.connect(tmp_path / "s.db")
    db.execute("DROP TRIGGER answers_no_update")
    db.execute("UPDATE answers SET logprobs = '[-9.0, -9.0]', tail = 'x\"' WHERE rowid = 7")
    db.commit()
    db.close()
    found = recover(tmp_path / "s.db", tmp_path / "new.db")
    assert found.left["predictions"] == 1
    assert any("another key" in reason for reason in found.reasons)


def test_only_what_a_run_needs_is_kept(tmp_path: Path) -> None:
    first, _ = asked(tmp_path / "s.db", (0, 1))
    dry = consilience("store", "gc", tmp_path / "s.db", "--keep", first)
    assert "nothing was written" in dry.stderr and "180" in dry.stdout
    assert not list(tmp_path.glob("*.partial*"))
    found = collect_garbage(tmp_path / "s.db", tmp_path / "new.db", [first])
    assert found.left["runs"] == 1 and found.left["predictions"] == 180
    with Store(tmp_path / "new.db") as store, Store(tmp_path / "s.db") as old:
        assert [run.id for run in store.runs()] == [first]
        assert store.verify() == []
        data = old.dataset(old.run(first).dataset)
        settings = Settings(calls_per_example=3)
        one, other = (solve_run(db, first, data, settings, solver=ONCE) for db in (old, store))
        np.testing.assert_array_equal(one.solution.labels, other.solution.labels)
    # All runs are kept where none is named: then nothing goes here.
    assert ", 0 left out" in consilience("store", "gc", tmp_path / "s.db").stderr


def test_a_run_that_goes_on_beside_is_kept_as_it_was_at_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _ = world_dataset("easy", 60)
    settings = Settings(calls_per_example=3)

    planned = Store.add_round

    def stopped(store: Store, run: str, round: int, rows: Sequence[Planned]) -> None:
        if round == 2:
            raise KeyboardInterrupt
        planned(store, run, round, rows)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Store, "add_round", stopped)
        elicit(data, SimulatedModel("easy"), settings=settings, store=tmp_path / "s.db")
    with Store(tmp_path / "s.db", readonly=True) as store:
        (run,), before = store.runs(), store.stats().models[0].predictions
    read = recovery._readable

    def going_on(db: sqlite3.Connection, table: str, *more: Any) -> Iterator[dict[str, Any]]:
        if table == "plan":
            with Store(tmp_path / "s.db") as other:
                elicit(data, SimulatedModel("easy"), settings=settings, store=other)
        return read(db, table, *more)

    monkeypatch.setattr(recovery, "_readable", going_on)
    found = collect_garbage(tmp_path / "s.db", tmp_path / "new.db", [run.id])
    with Store(tmp_path / "new.db") as new, Store(tmp_path / "s.db") as old:
        assert old.stats().models[0].predictions > before == found.kept["predictions"]
        assert new.verify() == [] and found.left.total() == 0


def test_what_cannot_be_is_one_line(tmp_path: Path) -> None:
    asked(tmp_path / "s.db", examples=8)
    (tmp_path / "there.db").write_bytes(b"")
    with pytest.raises(StoreError, match="is there already"):
        recover(tmp_path / "s.db", tmp_path / "there.db")
    with pytest.raises(StoreError, match="has no run nobody; the runs are"):
        collect_garbage(tmp_path / "s.db", None, ["nobody"])
    (tmp_path / "noise.db").write_bytes(b"noise" * 2000)
    done = consilience("store", "repair", tmp_path / "noise.db", tmp_path / "new.db", code=1)
    assert done.stderr.count("\n") == 1 and not (tmp_path / "new.db").exists()
    done = consilience("store", "repair", tmp_path / "s.db", tmp_path / "no" / "x.db")
    assert (tmp_path / "no" / "x.db").exists()


def test_the_log_beside_a_store_is_not_lost(tmp_path: Path) -> None:
    """A store killed while its log was written into it: the first page is new, the others not."""
    path, crash = tmp_path / "w.db", tmp_path / "crash"
    crash.mkdir()
    asked(path, (0,))
    before = (path.stat().st_size, path.read_bytes())
    with Store(path) as store:
        store._db.execute("PRAGMA wal_autocheckpoint=0")
        data, _ = world_dataset("easy", 60, 1)
        elicit(data, SimulatedModel("easy"), settings=Settings(calls_per_example=3), store=store)
        log = Path(f"{path}-wal").read_bytes()
        ((whole,),) = store._db.execute("SELECT count(*) FROM predictions").fetchall()
    size = int.from_bytes(before[1][16:18], "big")
    frames = range(32, len(log), 24 + size)
    firsts = [at for at in frames if log[at : at + 4] == (1).to_bytes(4, "big")]
    page = log[firsts[-1] + 24 : firsts[-1] + 24 + size]
    (crash / "w.db").write_bytes(page + before[1][size:])
    (crash / "w.db-wal").write_bytes(log)
    found = recover(crash / "w.db", crash / "out.db")
    assert found.reasons == [] and found.kept["predictions"] == whole
    with Store(crash / "out.db", readonly=True) as store:
        assert store.verify() == []


def test_what_a_killed_repair_left_is_no_part_of_the_next(tmp_path: Path) -> None:
    asked(tmp_path / "one.db", (0,))
    asked(tmp_path / "two.db", (1,))
    (tmp_path / "out.db.partial").write_bytes((tmp_path / "two.db").read_bytes())
    recover(tmp_path / "one.db", tmp_path / "out.db")
    assert contents(tmp_path / "out.db") == contents(tmp_path / "one.db")
    (tmp_path / "less.db.partial").write_bytes((tmp_path / "two.db").read_bytes())
    with Store(tmp_path / "one.db") as store:
        run = store.run().id
    collect_garbage(tmp_path / "one.db", tmp_path / "less.db", [run])
    assert contents(tmp_path / "less.db") == contents(tmp_path / "one.db")


def test_an_older_export_brings_no_older_command_to_the_front(tmp_path: Path) -> None:
    run = asked(tmp_path / "a.db")[0]
    (tmp_path / "b.db").write_bytes((tmp_path / "a.db").read_bytes())
    with Store(tmp_path / "a.db") as store:
        store.save_command(run, {"budget": {"max_calls": 10}})
        store.export_jsonl(tmp_path / "a.jsonl")
    with Store(tmp_path / "b.db") as store:
        store.save_command(run, {"budget": {"max_calls": 99}})
        store.import_jsonl(tmp_path / "a.jsonl")
        assert store.command(run) == {"budget": {"max_calls": 99}}
