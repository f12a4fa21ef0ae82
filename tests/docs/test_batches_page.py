"""The loops of the page about batches, run as they stand there, against a Batch API of its own."""

import ast
import email
import importlib
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from batch_api import submit
from command import consilience
from made_up import TASK_OPTIONS
from wire_model import PseudoModel
from wire_run import running
from wire_server import serve

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "batches.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture
def tickets(tmp_path, monkeypatch):
    """A task file as the page calls it, in the present folder, and its server."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(DOCS / "claims.csv", "tickets.csv")
    with serve("openai-chat", model=PseudoModel(world=True)) as server:
        question, classes = TASK_OPTIONS[1], TASK_OPTIONS[3].split(",")
        Path("tickets.toml").write_text(
            "[data]\n"
            'file = "tickets.csv"\ntext = "claim"\nid = "claim_id"\n'
            f"[task]\nquestion = {json.dumps(question)}\nclasses = {json.dumps(classes)}\n"
            f'[model]\nname = "openai:tiny"\nbase_url = "{server.url}"\n'
            '[budget]\ncalls_per_example = 2\n[output]\nstore = "tickets.db"\n'
        )
        yield server


@pytest.mark.slow
def test_the_commands_of_the_page_make_a_run(tickets):
    (block,) = [b for _, b in BLOCKS if "--batch round.jsonl        # writes" in b]
    plan, ingest, again, solve = [
        shlex.split(line.partition("#")[0])[1:]
        for line in block.splitlines()
        if line.startswith("consilience ")
    ]
    assert plan == again
    for _ in range(10):
        if not json.loads(consilience(*plan, "--json").stdout)["pending"]:
            break
        submit(Path("round.jsonl"), tickets.url, Path("output.jsonl"))
        consilience(*ingest)
    else:
        raise AssertionError("it does not end")
    consilience(*solve)
    asked = len(tickets.questions)
    consilience("run", "tickets.toml", "--output", "run.csv")
    assert Path("labels.csv").read_text() == Path("run.csv").read_text()
    assert len(tickets.questions) == asked


def test_the_program_of_the_page_submits_a_batch(tickets, tmp_path, monkeypatch):
    consilience("plan", "tickets.toml", "--batch", "round.jsonl")
    (program,) = [block for _, block in BLOCKS if "batches.create" in block]
    files, made = {}, []

    async def upload(request):
        head = b"Content-Type: " + request.headers["content-type"].encode() + b"\r\n\r\n"
        parts = {
            part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
            for part in email.message_from_bytes(head + await request.body()).get_payload()
        }
        assert parts["purpose"] == b"batch"
        files["in"] = parts["file"]
        return JSONResponse({"id": "in", "object": "file"})

    async def create(request):
        body = await request.json()
        assert body["input_file_id"] == "in"
        Path("sent.jsonl").write_bytes(files["in"])
        assert {json.loads(line)["url"] for line in files["in"].splitlines()} == {body["endpoint"]}
        made.append(body["completion_window"])
        files["out"] = Path("answered.jsonl").read_bytes()
        done = {"id": "b", "object": "batch", "status": "completed", "output_file_id": "out"}
        return JSONResponse(done | {"error_file_id": None})

    async def content(request):
        return Response(files[request.path_params["id"]])

    submit(Path("round.jsonl"), tickets.url, Path("answered.jsonl"))
    api = Starlette(
        routes=[
            Route("/v1/files", upload, methods=["POST"]),
            Route("/v1/batches", create, methods=["POST"]),
            Route("/v1/files/{id}/content", content),
        ]
    )
    with running(api) as address:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{address}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
        monkeypatch.setattr("sys.argv", ["submit.py", "round.jsonl", "output.jsonl"])
        exec(compile(program, "batches.md", "exec"), {})
    assert made == ["24h"]
    assert Path("sent.jsonl").read_text().split() == Path("round.jsonl").read_text().split()
    found = consilience("store", "ingest", "output.jsonl", "--store", "tickets.db", "--json")
    assert json.loads(found.stdout)["pending"] == 0


def test_programs_that_need_other_machines_import_what_there_is():
    trees = [ast.parse(block) for kind, block in BLOCKS if kind == "python"]
    imports = [n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    own = [node for node in imports if (node.module or "").startswith("consilience")]
    for node in own:
        there = vars(importlib.import_module(node.module))
        assert {name.name for name in node.names} <= there.keys()
    assert len(trees) >= 2
