"""What a Batch API does with a file, over a server of the tests: each line asked, answers mixed."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import httpx2


def submit(
    source: Path, base_url: str, output: Path, change=lambda line: line, key: str | None = None
) -> list[dict[str, Any]]:
    """Answers every line of a batch file, in another order; the lines of the output file.

    `change` gets each line of the output and gives what is written, None for nothing.
    """
    made = []
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx2.Client(trust_env=False, headers=headers) as client:
        for text in source.read_text("utf-8").splitlines():
            line = json.loads(text)
            assert set(line) == {"custom_id", "method", "url", "body"}
            assert line["method"] == "POST"
            url = base_url.removesuffix("/v1") + line["url"]
            answer = client.post(url, json=line["body"])
            response = {"status_code": answer.status_code, "request_id": "r", "body": answer.json()}
            one = {"id": f"b{len(made)}", "custom_id": line["custom_id"], "response": response}
            made.append(change(one | {"error": None}))
    made = [line for line in made if line is not None]
    random.Random(0).shuffle(made)
    with output.open("w", encoding="utf-8") as file:
        for one in made:
            file.write(one if isinstance(one, str) else json.dumps(one) + "\n")
    return made
