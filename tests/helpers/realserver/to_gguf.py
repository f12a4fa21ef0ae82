"""A small Llama's folder as one GGUF file of 32-bit floats, for llama.cpp and its relatives.

    python to_gguf.py FOLDER FILE.gguf

The folder is one that `transformers` writes: config.json, model.safetensors (32 or 16 bits),
tokenizer.json with byte-level BPE, and a chat template if there is one. What llama.cpp would
compute or split in another way is refused. Needs `gguf` and `numpy`.
"""

from __future__ import annotations

import argparse
import json
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np

Array = np.ndarray[Any, Any]

LLAMA_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How llama.cpp's "llama-bpe" splits text before merging; it then takes whole known words first."""

FLOATS = {"F32": "<f4", "F16": "<f2"}


def convert(folder: Path, file: Path) -> Path:
    """The model of `folder` written to `file`; ValueError where llama.cpp has no such model."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    check(config)
    out = gguf.GGUFWriter(file, "llama")
    out.add_name(folder.resolve().name)
    out.add_file_type(gguf.LlamaFileType.ALL_F32)
    add_shape(out, config)
    add_tokenizer(out, config, tokenizer)
    template = chat_template(folder)
    if template:
        out.add_chat_template(template)
    add_weights(out, config, read_safetensors(folder / "model.safetensors"))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return file


def check(config: dict[str, Any]) -> None:
    """ValueError for a network that is more than a plain Llama."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    plain = {
        "model_type": config["model_type"] == "llama",
        "hidden_act": config.get("hidden_act", "silu") == "silu",
        "attention_bias": not config.get("attention_bias"),
        "mlp_bias": not config.get("mlp_bias"),
        "quantization_config": not config.get("quantization_config"),
        "rope_type": rope.get("rope_type", "default") == "default",
    }
    wrong = [name for name, fine in plain.items() if not fine]
    if wrong:
        raise ValueError(
            f"only a plain Llama is converted; look at {', '.join(wrong)} in config.json"
        )


def heads(config: dict[str, Any]) -> tuple[int, int, int]:
    """The number of heads, of those for keys and values, and the size of one."""
    count = config["num_attention_heads"]
    size = config.get("head_dim") or config["hidden_size"] // count
    return count, config.get("num_key_value_heads") or count, size


def add_shape(out: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    """The sizes of the network."""
    count, kv_count, size = heads(config)
    rope = config.get("rope_parameters") or config  # newer transformers nest the base
    out.add_vocab_size(config["vocab_size"])
    out.add_context_length(config["max_position_embeddings"])
    out.add_embedding_length(config["hidden_size"])
    out.add_feed_forward_length(config["intermediate_size"])
    out.add_block_count(config["num_hidden_layers"])
    out.add_head_count(count)
    out.add_head_count_kv(kv_count)
    out.add_key_length(size)
    out.add_value_length(size)
    out.add_rope_dimension_count(size)
    out.add_layer_norm_rms_eps(config["rms_norm_eps"])
    out.add_rope_freq_base(rope.get("rope_theta", 10000.0))


# ---- the tokenizer ----------------------------------------------------------------------------


def add_tokenizer(out: gguf.GGUFWriter, config: dict[str, Any], tokenizer: dict[str, Any]) -> None:
    """The vocabulary, the merges, and which tokens begin and end a text."""
    bpe = tokenizer["model"]
    if bpe["type"] != "BPE" or tokenizer.get("normalizer"):
        raise ValueError("only byte-level BPE without a normalizer is converted")
    added = {entry["content"]: entry for entry in tokenizer["added_tokens"]}
    ids = bpe["vocab"] | {content: entry["id"] for content, entry in added.items()}
    tokens = [f"[unused {i}]" for i in range(config["vocab_size"])]
    types = [gguf.TokenType.UNUSED] * len(tokens)
    for token, i in ids.items():
        own = gguf.TokenType.CONTROL if added.get(token, {}).get("special") else None
        tokens[i] = token
        types[i] = own or (gguf.TokenType.USER_DEFINED if token in added else gguf.TokenType.NORMAL)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre(splitter(tokenizer))
    out.add_token_list(tokens)
    out.add_token_types(types)
    out.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in bpe["merges"]])
    begin, end = config.get("bos_token_id"), config.get("eos_token_id")
    if begin is not None:
        out.add_bos_token_id(begin)
    if end is not None:
        out.add_eos_token_id(end[0] if isinstance(end, list) else end)
    opens, closes = surroundings(tokenizer.get("post_processor"), ids)
    if closes or opens not in ([], [begin]):
        raise ValueError("the tokenizer puts more round a text than the token for its beginning")
    out.add_add_bos_token(bool(opens))
    out.add_add_eos_token(False)


def splitter(tokenizer: dict[str, Any]) -> str:
    """llama.cpp's name for the way in which text is split before merging."""
    outer = tokenizer["pre_tokenizer"] or {}
    steps = outer.get("pretokenizers", [outer])
    kinds = [step.get("type") for step in steps]
    whole = bool(tokenizer["model"].get("ignore_merges"))
    prefixed = any(step.get("add_prefix_space") for step in steps)
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True) and not (whole or prefixed):
        return "gpt-2"
    if kinds == ["Split", "ByteLevel"] and whole and not (steps[1].get("use_regex") or prefixed):
        rule = steps[0]
        if rule["pattern"].get("Regex") == LLAMA_SPLIT and rule["behavior"] == "Isolated":
            return "llama-bpe"
    raise ValueError("llama.cpp has no name for this pre-tokenizer, or none that is known here")


def surroundings(
    processor: dict[str, Any] | None, ids: dict[str, int]
) -> tuple[list[int], list[int]]:
    """The ids that are put before a text, and those after it."""
    if processor is None or processor["type"] == "ByteLevel":
        return [], []
    if processor["type"] == "Sequence":
        each = [surroundings(inner, ids) for inner in processor["processors"]]
        return [i for before, _ in each for i in before], [i for _, after in each for i in after]
    if processor["type"] != "TemplateProcessing":
        raise ValueError(f"a post-processor of type {processor['type']} is not converted")
    parts = processor["single"]
    text = next(n for n, part in enumerate(parts) if "Sequence" in part)
    named = [ids[part["SpecialToken"]["id"]] if "SpecialToken" in part else -1 for part in parts]
    return named[:text], named[text + 1 :]


def chat_template(folder: Path) -> str | None:
    """The folder's chat template, from its own file or from the tokenizer's configuration."""
    own, old = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    if own.exists():
        return own.read_text("utf-8")
    template = json.loads(old.read_text("utf-8")).get("chat_template") if old.exists() else None
    return template if isinstance(template, str) else None


# ---- the weights ------------------------------------------------------------------------------


def read_safetensors(file: Path) -> dict[str, Array]:
    """The tensors of a file by name, as 32-bit floats; numpy alone has no bfloat16."""
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    body = memoryview(data)[8 + length :]
    found = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        raw, kind = body[begin:end], entry["dtype"]
        if kind == "BF16":
            values = (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
        elif kind in FLOATS:
            values = np.frombuffer(raw, FLOATS[kind])
        else:
            raise ValueError(f"the weights {name} are {kind}; only F32, F16 and BF16 are converted")
        found[name] = values.astype(np.float32).reshape(entry["shape"])
    return found


def add_weights(out: gguf.GGUFWriter, config: dict[str, Any], weights: dict[str, Array]) -> None:
    """The tensors under llama.cpp's names; an output tied to the embedding is left out."""
    count, kv_count, _ = heads(config)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for name, weight in weights.items():
        if name == "lm_head.weight" and config.get("tie_word_embeddings"):
            continue
        own = names.get_name(name, try_suffixes=(".weight",))
        if own is None:
            raise ValueError(f"llama.cpp's Llama has no weights such as {name}")
        for part, n in (("q_proj", count), ("k_proj", kv_count)):
            if part in name:  # llama.cpp rotates neighbouring pairs, transformers rotates halves
                rows, columns = weight.shape
                halves = weight.reshape(n, 2, rows // n // 2, columns)
                weight = halves.swapaxes(1, 2).reshape(rows, columns)
        out.add_tensor(own, np.ascontiguousarray(weight))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Writes a Llama's folder as a GGUF file.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    print(convert(given.folder, given.file))


if __name__ == "__main__":
    main()
