"""The contract suite against every real server that is installed here.

    uv run python benchmarks/contract.py                       # all servers, both models
    uv run python benchmarks/contract.py vllm --model pocket=FOLDER

Serves one model's weights by vLLM and `transformers serve` from their folder and by
llama-cpp-python from a GGUF file made of it, and checks each endpoint as
tests/helpers/realserver/checks.py says. The models are the one in the package, if it is there, and
a small Llama with random weights. Rows of what did not run stay as they were in
results/contract.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serve import Kind

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "contract.json"
POCKET = ROOT / "src" / "consilience" / "datasets" / "pocket_world" / "model"
TOLERANCE: dict[Kind, float] = {"vllm": 1e-4, "llamacpp": 1e-2, "transformers": 0.0}
"""How far a value may stand from the one in this process, in nats."""
SPREAD = 0.2
"""Of the random weights: at 0.3, rounding to 32 bits alone moves a value by up to 3e-4 nats."""


def rows(kind: Kind, folder: Path, gguf: Path) -> Iterator[Any]:
    """The rows of one server for one model."""
    sys.path.insert(0, str(ROOT / "tests" / "helpers" / "realserver"))
    import checks
    from reference import Reference
    from serve import serve

    if kind == "transformers":
        with serve(kind, folder) as url, tempfile.TemporaryDirectory() as own:
            for api in ("completions", "chat"):
                row = partial(checks.judge, kind, api)
                dropped = partial(checks.endpoint_answers, url, api)
                refused = partial(checks.run_refuses, url, api, Path(own))
                yield row(checks.DROPPED, 0.0, dropped)
                yield row(checks.REFUSED, 0.0, refused)
        return
    tolerance, reference = TOLERANCE[kind], Reference(folder)
    subjects = {}
    with serve(kind, gguf if kind == "llamacpp" else folder) as url:
        for endpoint, found in checks.endpoints(url):
            subject = checks.Subject(url, found, reference, folder, tolerance)
            subjects[endpoint] = subject
            for name, check in checks.CHECKS.items():
                yield checks.judge(kind, endpoint, name, tolerance, partial(check, subject))
    if kind == "llamacpp":
        for endpoint in subjects:
            said = "there is always the last prompt"
            yield checks.Row(kind, endpoint, checks.CACHE_OFF, "not offered", None, said)
        return
    with serve(kind, folder, extra=["--no-enable-prefix-caching"]) as url:
        for endpoint, subject in subjects.items():
            work = partial(checks.prefix_cache_off, subject)
            yield checks.judge(kind, endpoint, checks.CACHE_OFF, tolerance, work)


def measured(kind: Kind, name: str, folder: Path) -> list[dict[str, Any]]:
    """The rows of one server and one model as plain data, told while they come in."""
    from dataclasses import asdict

    found = []
    with tempfile.TemporaryDirectory() as own:
        gguf = Path(own) / "model.gguf"
        if kind == "llamacpp":
            from to_gguf import convert

            convert(folder, gguf)
        for row in rows(kind, folder, gguf):
            nats = "" if row.nats is None else f"{row.nats:.1e} nats, "
            print(f"{name}, {kind}, {row.endpoint}: {row.check}: {row.outcome}: {nats}{row.said}")
            found.append({"model": name} | asdict(row))
    return found


def table(found: Mapping[str, Any]) -> str:
    """One table per model: what was checked, and what came of it on each server and endpoint."""
    return "\n\n".join(_table(name, found) for name in found["models"])


def _table(name: str, found: Mapping[str, Any]) -> str:
    mine = [row for row in found["rows"] if row["model"] == name]
    columns = list(dict.fromkeys((row["server"], row["endpoint"]) for row in mine))
    checks = list(dict.fromkeys(row["check"] for row in mine))
    cells = {(row["server"], row["endpoint"], row["check"]): _cell(row) for row in mine}
    heads = [f"{found['servers'][kind]}, {endpoint}" for kind, endpoint in columns]
    lines = [
        f"{found['models'][name]}:\n",
        f"| | {' | '.join(heads)} |",
        "|" + "---|" * (len(columns) + 1),
        *(
            f"| {check} | {' | '.join(cells.get((*column, check), '') for column in columns)} |"
            for check in checks
        ),
    ]
    return "\n".join(lines)


def _cell(row: Mapping[str, Any]) -> str:
    if row["outcome"] != "passed":
        return "–" if row["outcome"] == "not offered" else f"**failed**: {row['said']}"
    return "passed" if row["nats"] is None else f"{max(row['nats'], 0.0):.0e}"


def main() -> None:
    """Runs what is asked for and what is installed, and writes the rows."""
    sys.path.insert(0, str(ROOT / "tests" / "helpers" / "realserver"))
    from reference import Reference
    from serve import interpreter, version

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("servers", nargs="*", help=f"of {', '.join(TOLERANCE)}; all by default")
    parser.add_argument(
        "--model", action="append", metavar="NAME=FOLDER", help="instead of the two models"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        models = dict(word.split("=", 1) for word in given.model or [])
        if not models:
            from tiny_model import make_folder

            models = {"random": str(make_folder(Path(made), spread=SPREAD))}
            if (POCKET / "config.json").exists():
                models["pocket"] = str(POCKET)
        kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        found = {key: dict(kept.get(key, {})) for key in ("models", "servers")}
        done = list(kept.get("rows", []))
        kinds: list[Kind] = given.servers or list(TOLERANCE)
        for kind in kinds:
            python = interpreter(kind)
            if python is None:
                print(f"{kind} is not installed here")
                continue
            found["servers"][kind] = version(kind, python)
            for name, folder in models.items():
                reference = Reference(Path(folder))
                found["models"][name] = (
                    f"`{name}`, {reference.network.num_parameters():,} parameters, "
                    f"{reference.size:,} tokens"
                )
                fresh = measured(kind, name, Path(folder))
                done = [r for r in done if (r["model"], r["server"]) != (name, kind)] + fresh
        done.sort(
            key=lambda r: (
                list(found["models"]).index(r["model"]),
                list(TOLERANCE).index(r["server"]),
            )
        )
    lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in done)
    head = json.dumps(found, indent=1, ensure_ascii=False)[:-2]
    RESULTS.write_text(f'{head},\n "rows": [\n{lines}\n ]\n}}\n')
    if any(row["outcome"] == "failed" for row in done):
        sys.exit("some checks failed")


if __name__ == "__main__":
    main()
