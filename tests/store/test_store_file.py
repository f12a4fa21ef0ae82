"""The file of a store: opening, proof, the trip through lines, several writers, and its page."""

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import pytest

from command import consilience
from consilience.errors import StoreError
from consilience.store.database import Store
from consilience.store.opening import MIGRATIONS
from consilience.store.schema import TABLES
from consilience.store.texts import text_key
from stored import MODEL, NOTE, WRITTEN, answer, ask, filled

DOCS = Path(__file__).parents[2] / "docs" / "store.md"


def test_opening_again_finds_everything(tmp_path):
    path = tmp_path / "new" / "folder" / "a.db"
    filled(path).close()
    for readonly in (False, True):
        with Store(path, readonly=readonly) as store:
            assert store.run().answered == 20 and store.verify() == []
    with Store(path, readonly=True) as store, pytest.raises(StoreError, match="readonly"):
        store.add(MODEL, ask(500), answer(), 0.0)
    with Store(path, readonly=True) as store:
        assert store.export_jsonl(tmp_path / "a.jsonl") == 51
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.runs()


def test_reading_leaves_nothing_beside_the_file(tmp_path):
    path = tmp_path / "a.db"
    filled(path).close()
    before = path.read_bytes()
    with Store(path, readonly=True) as store, Store(path, readonly=True) as other:
        assert store.run().answered == other.run().answered == 20
    assert [file.name for file in tmp_path.iterdir()] == ["a.db"]
    assert path.read_bytes() == before
    with Store(path) as writer:
        with Store(path, readonly=True) as store:
            writer.add(MODEL, ask(500), answer(), 0.0)
            assert store.stats().models[0].predictions == 21
        writer.add(MODEL, ask(501), answer(), 0.0)
    # One that begins to write while it is read loses nothing when the reader ends.
    with Store(path, readonly=True) as store:
        writer = Store(path)
        key = writer.add(MODEL, ask(502), answer(), 0.0)
    added = writer.add(MODEL, ask(503), answer(), 0.0)
    writer.close()
    with Store(path, readonly=True) as store:
        assert store.known([key, added]) == {key, added} and store.verify() == []


def test_what_is_not_a_store_is_refused_in_one_line_and_left_alone(tmp_path):
    text = tmp_path / "text.db"
    text.write_text("id,label\n" * 100)
    foreign = tmp_path / "foreign.db"
    db = sqlite3.connect(foreign)
    db.execute("CREATE TABLE users (name TEXT)")
    db.commit()
    db.close()
    newer = tmp_path / "newer.db"
    Store(newer).close()
    db = sqlite3.connect(newer)
    db.execute("INSERT INTO migrations VALUES ('m999_future', '')")
    db.commit()
    db.close()
    for path, words in [
        (text, "not a database"),
        (foreign, "another program"),
        (newer, r"newer version of consilience \(m999_future\)"),
        (tmp_path, "it is a folder"),
        (text / "below" / "a.db", "Not a directory|exists"),
    ]:
        before = path.read_bytes() if path.is_file() else None
        with pytest.raises(StoreError, match=words) as caught:
            Store(path)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)
        assert before is None or path.read_bytes() == before
    for path in (tmp_path / "missing.db", foreign):
        with pytest.raises(StoreError):
            Store(path, readonly=True)
    assert not (tmp_path / "missing.db").exists()
    (tmp_path / "empty.db").touch()
    with pytest.raises(StoreError, match="is empty; open it for writing once"):
        Store(tmp_path / "empty.db", readonly=True)
    Store(tmp_path / "empty.db").close()
    Store(tmp_path / "empty.db", readonly=True).close()


def as_before_texts(path):
    """The file as a version that knew no texts would have left it."""
    db = sqlite3.connect(path)
    db.execute("DROP TABLE texts")
    db.execute("DROP TABLE text_failures")
    db.execute("DELETE FROM migrations WHERE name = 'm002_texts'")
    db.commit()
    db.close()


def test_an_older_store_is_read_as_it_is_and_brought_up_to_date_by_writing(tmp_path):
    path = tmp_path / "a.db"
    filled(path).close()
    as_before_texts(path)
    before = path.read_bytes()
    with Store(path, readonly=True) as store:
        assert store.run().answered == 20 and store.verify() == []
        assert (store.stats().texts, store.texts([text_key(MODEL, NOTE)])) == (0, [None])
        assert store.export_jsonl(tmp_path / "a.jsonl") == 49
    assert path.read_bytes() == before
    with Store(path) as store:
        assert store.run().answered == 20
        key = store.add_text(MODEL, NOTE, WRITTEN, 0.5)
        assert store.texts([key])[0].text == WRITTEN.text and store.verify() == []
    with Store(path, readonly=True) as store:
        assert store.stats().texts == 1
    db = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        db.execute("DELETE FROM texts")
    db.close()


def test_an_older_store_that_lacks_more_than_tables_is_brought_up_to_date_in_memory(
    filled_file, tmp_path, monkeypatch
):
    path = shutil.copy(filled_file, tmp_path / "a.db")
    more = {"m009_more": ("ALTER TABLE texts ADD COLUMN more TEXT",)}
    monkeypatch.setattr("consilience.store.opening.MIGRATIONS", MIGRATIONS | more)
    before = path.read_bytes()
    with Store(path, readonly=True) as store:
        assert store.run().answered == 20 and store._db.execute("SELECT more FROM texts")
    assert path.read_bytes() == before
    Store(path).close()
    Store(path, readonly=True).close()


def test_rows_cannot_be_changed_or_removed(tmp_path):
    filled(tmp_path / "a.db").close()
    db = sqlite3.connect(tmp_path / "a.db")
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'migrations'"
    for (table,) in db.execute(tables).fetchall():
        (_, column, *_) = db.execute(f"PRAGMA table_info({table})").fetchone()
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = {column}"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                db.execute(statement)
    db.close()


TAMPERING = [
    ("answers", "tail = 'another\"'", "another key"),
    ("answers", "model = framing", "another key"),
    ("answers", "mass = 0.5", "packs 11: its numbers are not those"),
    ("packs", "numbers = zeroblob(length(numbers))", "its numbers are not those"),
    ("packs", "numbers = substr(numbers, 2)", "its numbers cannot be read"),
    ("packs", "responses = substr(responses, 9)", "cannot be unpacked"),
    ("packs", "count = count - 1", "is in no pack"),
    ("answers", "tail = '{'", "not JSON"),
    ("answers", "logprobs = '[0.5, -1.0]'", "at most 0"),
    ("answers", "logprobs = '[NaN, -1.0]'", "finite"),
    ("answers", "logprobs = '[-1.0]'", "1 log-probabilities"),
    ("answers", "logprobs = '[null, -1.0]'", "cannot be read"),
    ("answers", "exact = shots", "true or false"),
    ("answers", "mass = 2", "mass"),
    ("answers", "seconds = -1", "seconds"),
    ("answers", "usage = shots", "usage"),
    ("answers", "shots = label_names", "pairs|cannot be read"),
    ("datasets", "content = replace(content, 'text 1', 'text 9')", "fingerprint|not an example"),
    ("datasets", "content = '{}'", "cannot be read"),
    ("runs", "seed = 7", "another id"),
    ("runs", "dataset = 'gone'", "is not there|another id"),
    ("keys", "key = CAST('1' || id AS BLOB)", "not a key"),
    ("planned", "repeat = 5", "another repeat number"),
    ("planned", "position = position + 100", "100 of its queries are missing"),
    ("planned", "round = round + 5", "5 of its rounds are missing"),
    ("failed", "label_names = 99999", "is not there"),
    ("contents", "content = content || ' '", "another hash"),
    ("answers", "raw = x'7801'", "not JSON"),
    ("probes", "data = '[]'", "no object"),
    ("corrections", "label = 'yes'", "number of a class"),
    ("texts", "prompt = '\"another\"'", "another key"),
    ("texts", "settings = json_set(settings, '$.max_tokens', 5)", "another key"),
    ("texts", "seconds = -1", "seconds"),
    ("texts", "usage = '[]'", "usage"),
    ("texts", "text = x'00'", "its text is none"),
    ("text_failures", "model = 'another'", "another key"),
    ("solved", "probability = 2", "probability cannot be 2"),
    ("solved", "label = 'x'", "number and name of a class"),
]


@pytest.fixture(scope="module")
def filled_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "filled.db"
    filled(path).close()
    return path


@pytest.mark.parametrize(("table", "change", "words"), TAMPERING)
def test_verify_finds_what_was_tampered_with(filled_file, tmp_path, table, change, words):
    path = shutil.copy(filled_file, tmp_path / "a.db")
    db = sqlite3.connect(path)
    db.execute(f"DROP TRIGGER {table}_no_update")
    db.execute(f"UPDATE {table} SET {change}")
    db.commit()
    db.close()
    with Store(path) as store:
        faults = store.verify()
    assert any(re.search(words, fault) for fault in faults), faults
    assert all("\n" not in fault for fault in faults)


def test_verify_reports_a_damaged_file(filled_file, tmp_path):
    content = bytearray(filled_file.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = b"\xff" * 4096
    (tmp_path / "a.db").write_bytes(content)
    with Store(tmp_path / "a.db") as store:
        assert store.verify() != []


# --- export and import ---------------------------------------------------------------------


def test_the_trip_through_lines_is_lossless(tmp_path):
    with filled(tmp_path / "a.db") as store, Store(tmp_path / "b.db") as other:
        lines = store.export_jsonl(tmp_path / "a.jsonl")
        assert other.import_jsonl(tmp_path / "a.jsonl") == lines == 51
        assert other.import_jsonl(tmp_path / "a.jsonl") == 0
        other.export_jsonl(tmp_path / "b.jsonl")
        assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
        assert other.verify() == [] and other.run() == store.run()
        store.add(MODEL, ask(500), answer(), 0.0)
        store.export_jsonl(tmp_path / "a.jsonl")
        assert other.import_jsonl(tmp_path / "a.jsonl") == 1
        assert [p.name for p in tmp_path.glob("*.part")] == []


def test_import_takes_all_or_nothing(tmp_path):
    path = tmp_path / "a.jsonl"
    with filled() as store:
        store.export_jsonl(path)
    good = path.read_text().splitlines()
    at = next(i for i, line in enumerate(good) if '"predictions"' in line) + 3
    row = json.loads(good[at])
    for line, words in [
        (json.dumps(row | {"prompt": "forged"}), "another key"),
        (json.dumps(row | {"mass": "much"}), "cannot be read"),
        (json.dumps({k: v for k, v in row.items() if k != "mass"}), "these columns: mass"),
        (json.dumps(row | {"table": "users"}), "not a row of a store"),
        ("[1, 2]", "not a row of a store"),
        ('{"table": ', "not a row of a store"),
        (json.dumps(row | {"framing": ["a"]}), "could not import"),
    ]:
        path.write_text("\n".join([*good[:at], line, *good[at + 1 :]]))
        with Store() as store:
            with pytest.raises(StoreError, match=words) as caught:
                store.import_jsonl(path)
            assert f"line {at + 1}" in str(caught.value) or "could not import" in words
            assert store.stats().models == () and store.runs() == []
    path.write_text("\n".join(line for line in good if '"position":3' not in line))
    with Store() as store, pytest.raises(StoreError, match="incomplete"):
        store.import_jsonl(path)


def test_runs_that_went_different_ways_are_not_merged(tmp_path):
    with filled(n=20) as store, filled(n=18) as other:
        store.export_jsonl(tmp_path / "a.jsonl")
        with pytest.raises(StoreError, match="another plan"):
            other.import_jsonl(tmp_path / "a.jsonl")
        lines = (tmp_path / "a.jsonl").read_text().splitlines()
        (tmp_path / "a.jsonl").write_text(
            "\n".join(line for line in lines if '"table":"plan"' not in line)
        )
        # Two predictions, and what is of another time: table, command, correction, failures,
        # labels and probe.
        assert other.import_jsonl(tmp_path / "a.jsonl") == 10
        assert other.verify() == []


def test_a_file_that_cannot_be_read_or_written_is_one_line(tmp_path):
    with Store() as store:
        with pytest.raises(StoreError, match="cannot import"):
            store.import_jsonl(tmp_path / "missing.jsonl")
        with pytest.raises(StoreError, match="cannot export"):
            store.export_jsonl(tmp_path / "missing" / "a.jsonl")


# --- several writers, and death ------------------------------------------------------------

WRITER = """
import sys
from stored import MODEL, answer, ask
from consilience.store.database import Store
path, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with Store(path) as store:
    for i in range(first, first + count):
        request = ask(i, prompt=f"prompt {i} " + "x" * 2000)
        print(store.add(MODEL, request, answer(), 0.1), flush=True)
"""


def start_writer(path, first, count):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(first), str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1] / "helpers",
    )


def test_several_processes_write_to_one_new_store(tmp_path):
    path = tmp_path / "a.db"
    writers = [start_writer(path, first, 200) for first in (0, 100, 200, 1000)]
    keys = set()
    for writer in writers:
        out, problems = writer.communicate(timeout=120)
        assert writer.returncode == 0, problems
        keys |= set(out.split())
    assert len(keys) == 600
    with Store(path) as store:
        assert store.known(keys) == keys and store.verify() == []
        assert store.stats().models[0].predictions == 600


def test_opening_waits_for_the_writer(tmp_path):
    path = tmp_path / "a.db"
    # A new file, not yet in WAL mode, that another process holds for a while.
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.3, holder.execute, ["COMMIT"])
    began = time.monotonic()
    timer.start()
    Store(path).close()
    waited = time.monotonic() - began
    timer.join()
    assert waited >= 0.3
    holder.close()


def test_threads_may_share_a_store():
    with Store() as store:

        def write(first):
            for i in range(first, first + 50):
                store.add(MODEL, ask(i), answer(), 0.0)

        threads = [threading.Thread(target=write, args=(first,)) for first in (0, 25, 100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.stats().models[0].predictions == 125 and store.verify() == []


def test_a_killed_writer_keeps_every_acknowledged_prediction(tmp_path):
    path = tmp_path / "a.db"
    with start_writer(path, 0, 1_000_000) as writer:
        acknowledged = [writer.stdout.readline().strip() for _ in range(300)]
        writer.send_signal(signal.SIGKILL)
        rest, problems = writer.communicate(timeout=60)
    assert writer.returncode == -signal.SIGKILL, problems
    acknowledged += [line for line in rest.split("\n")[:-1] if line]
    assert len(acknowledged) >= 300
    with Store(path) as store:
        assert store.known(acknowledged) == set(acknowledged)
        assert store.verify() == []
        store.add(MODEL, ask(-1), answer(), 0.0)


# --- the page about it ---------------------------------------------------------------------


@pytest.mark.parametrize("sql", re.findall(r"```sql\n(.*?)```", DOCS.read_text(), re.DOTALL))
def test_the_queries_of_the_documentation_run(filled_file, sql):
    db = sqlite3.connect(filled_file)
    assert db.execute(sql).fetchall()
    db.close()


def test_every_table_and_column_is_documented(filled_file):
    section = r"^`(\w+)`, one row per[^\n]*\n(.*?)\n\n(?=[`#])"
    sections = dict(re.findall(section, DOCS.read_text(), re.MULTILINE | re.DOTALL))
    db = sqlite3.connect(filled_file)
    listed = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
    tables = {name for (name,) in db.execute(listed)}
    assert sections.keys() == tables
    for table in tables:
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        firsts = re.findall(r"^\|([^|]*`[^|]*)\|", sections[table], re.MULTILINE)
        documented = re.findall(r"`(\w+)`", " ".join(firsts))
        assert sorted(documented) == sorted(columns), table
        if table in TABLES:
            assert sorted(TABLES[table]) == sorted(set(columns) - {"rowid", "raw_like"})
    db.close()


def test_the_program_of_the_documentation_runs(filled_file, tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    shutil.copy(filled_file, tmp_path / "runs" / "tqa.db")
    monkeypatch.chdir(tmp_path)
    [program] = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    names = {}
    exec(program, names)
    assert names["problems"] == [] and None not in names["predictions"]


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("end", ["", "-wal", "-shm", "-journal"])
def test_links_are_refused_and_not_followed(filled_file, tmp_path, end, readonly):
    elsewhere = tmp_path / "elsewhere"
    shutil.copy(filled_file, elsewhere)
    before = elsewhere.read_bytes()
    if end:
        shutil.copy(filled_file, tmp_path / "a.db")
    (tmp_path / f"a.db{end}").symlink_to(elsewhere)
    with pytest.raises(StoreError, match=f"a.db{end} is a symbolic link; name the file itself"):
        Store(tmp_path / "a.db", readonly=readonly)
    assert elsewhere.read_bytes() == before
    done = consilience("store", "verify", tmp_path / "a.db", code=1)
    assert "symbolic link" in done.stderr and not done.stdout


def test_a_link_to_nothing_makes_no_file(tmp_path):
    (tmp_path / "a.db").symlink_to(tmp_path / "new")
    with pytest.raises(StoreError, match="symbolic link"):
        Store(tmp_path / "a.db")
    assert not (tmp_path / "new").exists()


FOREIGN = [
    "CREATE TRIGGER spy AFTER INSERT ON answers BEGIN DELETE FROM migrations; END",
    "CREATE VIEW more AS SELECT * FROM predictions",
    "CREATE TABLE notes (text TEXT)",
    "CREATE INDEX quick ON answers (model)",
    "CREATE VIRTUAL TABLE words USING fts5(text)",
    "DROP VIEW plan; CREATE VIEW plan AS SELECT * FROM planned",
    "DROP TABLE texts; CREATE VIEW texts AS SELECT key, created FROM predictions",
    "DROP TABLE probes; CREATE TABLE probes (model TEXT, base_url TEXT, created TEXT, "
    "data TEXT GENERATED ALWAYS AS (model || created))",
    "DROP TRIGGER runs_no_update; CREATE TRIGGER runs_no_update BEFORE UPDATE ON runs "
    "BEGIN SELECT 1; END",
]


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("script", FOREIGN, ids=lambda sql: " ".join(sql.split()[:3]))
def test_what_no_store_has_is_refused_and_left_alone(filled_file, tmp_path, script, readonly):
    path = shutil.copy(filled_file, tmp_path / "a.db")
    db = sqlite3.connect(path)
    db.executescript(script)
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"a.db has a \w+ that no store has"):
        Store(path, readonly=readonly)
    assert "no store has" in consilience("store", "verify", path, code=1).stderr
    assert path.read_bytes() == before


def test_the_views_are_read_by_duckdb_too(filled_file):
    """DuckDB makes a store's views its own; here of the same tables, without its extension."""
    kinds = {"TEXT": "VARCHAR", "INTEGER": "BIGINT", "REAL": "DOUBLE", "BLOB": "BLOB"}
    db, duck = sqlite3.connect(filled_file), duckdb.connect()
    for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        columns = db.execute(f"PRAGMA table_info({table})").fetchall()
        made = ", ".join(f'"{name}" {kinds[kind or "TEXT"]}' for _, name, kind, *_ in columns)
        duck.execute(f"CREATE TABLE {table} ({made})")
        marks = ", ".join("?" * len(columns))
        for row in db.execute(f"SELECT * FROM {table}"):
            duck.execute(f"INSERT INTO {table} VALUES ({marks})", row)
    for name, sql in db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'view'"):
        duck.execute(sql)
        if name != "prompts":  # their JSON is taken apart as SQLite does it
            rows = f"SELECT * FROM {name}"
            theirs, ours = duck.execute(rows).fetchall(), db.execute(rows).fetchall()
            assert sorted(map(str, theirs)) == sorted(map(str, ours))
    db.close()
    duck.close()
