"""A real server of somebody else, started for the test, and the conversion for another.

`transformers serve` answers and drops the log-probabilities without a word: what must not happen is
a label made of nothing. The servers that have them are checked by benchmarks/contract.py.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest

from command import consilience

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers" / "realserver"))

from serve import MODEL_NAME, get_or_post, interpreter, serve
from tiny_model import make_folder
from to_gguf import convert, read_safetensors

from made_up import TASK_OPTIONS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    """The base URL of a running `transformers serve`, and the file of what it says."""
    if interpreter("transformers") is None:
        pytest.skip("transformers is installed without its serving parts")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("log") / "server.log"
    with serve("transformers", folder, port, log=log) as url:
        yield url, log


def asked(log):
    """How many questions the server says it was asked."""
    return log.read_text().count("[Request received]")


BODIES = {
    "completions": {"prompt": "One and one make", "logprobs": 5},
    "chat/completions": {
        "messages": [{"role": "user", "content": "Is snow warm?"}],
        "logprobs": True,
        "top_logprobs": 5,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("path", BODIES)
def test_it_answers_and_drops_the_log_probabilities(server, path):
    url, _ = server
    answer = get_or_post(f"{url}/{path}", {"model": MODEL_NAME, "max_tokens": 1, **BODIES[path]})
    assert answer["usage"]["completion_tokens"] == 1
    assert answer["choices"][0].get("logprobs") is None


@pytest.mark.slow
@pytest.mark.parametrize("api", ["auto", "completions", "chat"])
def test_the_probe_says_so_in_one_line(server, api):
    url, log = server
    before = asked(log)
    done = consilience("probe", url, "--model", MODEL_NAME, "--set", f"model.api={api}", code=1)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "no log-probabilities" in done.stderr
    assert "answers without log-probabilities" in done.stderr
    assert "serve the model with vLLM" in done.stderr
    assert asked(log) - before == (2 if api == "auto" else 1)


@pytest.mark.slow
def test_a_run_ends_before_it_asks_anything(server, tmp_path):
    url, log = server
    claims = tmp_path / "claims.csv"
    claims.write_text("text\n" + "\n".join(f"Stone {i} is warm." for i in range(30)) + "\n")
    before = asked(log)
    words = ["--model", f"openai:{MODEL_NAME}", "--base-url", url, "--store", tmp_path / "s.db"]
    done = consilience(
        "run", claims, *TASK_OPTIONS, *words, "--output", tmp_path / "labels.csv", code=1
    )
    assert "no log-probabilities" in done.stderr.splitlines()[-1]
    assert asked(log) - before == 2  # one small question to each endpoint, by the probe
    assert not (tmp_path / "labels.csv").exists()


# ---- the same weights for llama.cpp -------------------------------------------------------------


def text(field):
    return bytes(field.parts[field.data[0]]).decode()


def test_the_gguf_holds_the_folder(folder, tmp_path):
    read = gguf.GGUFReader(convert(folder, tmp_path / "model.gguf"))
    config = json.loads((folder / "config.json").read_text())
    words = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    tokens = read.fields["tokenizer.ggml.tokens"]
    own = [bytes(tokens.parts[i]).decode() for i in tokens.data]
    assert own == sorted(words, key=words.__getitem__)
    assert text(read.fields["tokenizer.ggml.pre"]) == "llama-bpe"
    assert read.fields["tokenizer.ggml.add_bos_token"].contents() is True
    assert "add_generation_prompt" in text(read.fields["tokenizer.chat_template"])
    kinds = read.fields["tokenizer.ggml.token_type"].contents()
    assert kinds[:5] == [gguf.TokenType.CONTROL] * 5
    assert set(kinds[5:]) == {gguf.TokenType.NORMAL}
    weights = read_safetensors(folder / "model.safetensors")
    found = {tensor.name: tensor.data for tensor in read.tensors}
    assert len(found) == len(weights)
    assert np.array_equal(found["output.weight"], weights["lm_head.weight"])
    # Row 2i of a head is row i of its first half, row 2i + 1 is row i of its second.
    size = config["head_dim"]
    key = weights["model.layers.1.self_attn.k_proj.weight"]
    for head in range(config["num_key_value_heads"]):
        mine = found["blk.1.attn_k.weight"][head * size : (head + 1) * size]
        theirs = key[head * size : (head + 1) * size]
        assert np.array_equal(mine[0::2], theirs[: size // 2])
        assert np.array_equal(mine[1::2], theirs[size // 2 :])


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_weights_of_sixteen_bits_are_read(tmp_path, kind):
    import torch
    from safetensors.torch import save_file

    dtype = {"F16": torch.float16, "BF16": torch.bfloat16}[kind]
    values = torch.linspace(-3, 3, 24).reshape(4, 6).to(dtype)
    save_file({"a": values}, tmp_path / "model.safetensors")
    read = read_safetensors(tmp_path / "model.safetensors")
    assert read["a"].dtype == np.float32
    assert np.array_equal(read["a"], values.float().numpy())


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("config.json", {"model_type": "qwen2"}, "model_type"),
        ("config.json", {"attention_bias": True}, "attention_bias"),
        ("config.json", {"rope_parameters": {"rope_type": "yarn"}}, "rope_type"),
        ("tokenizer.json", {"normalizer": {"type": "NFC"}}, "normalizer"),
        ("tokenizer.json", {"pre_tokenizer": {"type": "Whitespace"}}, "pre-tokenizer"),
        ("tokenizer.json", {"post_processor": {"type": "BertProcessing"}}, "BertProcessing"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(folder, tmp_path, file, change, said):
    copy = tmp_path / "copy"
    copy.mkdir()
    for each in folder.iterdir():
        (copy / each.name).write_bytes(each.read_bytes())
    changed = json.loads((copy / file).read_text()) | change
    (copy / file).write_text(json.dumps(changed))
    with pytest.raises(ValueError, match=said):
        convert(copy, tmp_path / "model.gguf")


def test_a_text_without_a_mark_for_its_beginning_gets_none(folder, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for each in folder.iterdir():
        (copy / each.name).write_bytes(each.read_bytes())
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    tokenizer["post_processor"] = None
    tokenizer["model"]["ignore_merges"] = False
    tokenizer["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False}
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    read = gguf.GGUFReader(convert(copy, tmp_path / "model.gguf"))
    assert read.fields["tokenizer.ggml.add_bos_token"].contents() is False
    assert text(read.fields["tokenizer.ggml.pre"]) == "gpt-2"
