"""Folders of models that attack or are broken, each made of a good one."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

Spoil = Callable[[Path, Path], None]
"""Spoils a folder; code that runs would make the file that is given second."""


class Attack:
    """What makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return open, (str(self.mark), "w")


def edited(path: Path, **keys: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | keys), "utf-8")


def with_code(folder: Path, mark: Path) -> None:
    code = f"open({str(mark)!r}, 'w')\nclass Evil: pass\n"
    (folder / "evil.py").write_text(code, "utf-8")


def pickled(folder: Path, mark: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Attack(mark)))


def own_network(folder: Path, mark: Path) -> None:
    with_code(folder, mark)
    classes = {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}
    edited(folder / "config.json", auto_map=classes, model_type="evil")


def own_tokenizer(folder: Path, mark: Path) -> None:
    with_code(folder, mark)
    edited(
        folder / "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["evil.Evil", None]},
        tokenizer_class="Evil",
    )


def cut(name: str, keep: int) -> Spoil:
    def spoil(folder: Path, mark: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:keep])

    return spoil


def written(name: str, content: bytes) -> Spoil:
    def spoil(folder: Path, mark: Path) -> None:
        (folder / name).write_bytes(content)

    return spoil


def sized(**keys: object) -> Spoil:
    return lambda folder, mark: edited(folder / "config.json", **keys)


FOLDERS: dict[str, Spoil] = {
    "pickled weights": pickled,
    "a network of its own": own_network,
    "a tokenizer of its own": own_tokenizer,
    "half the weights": cut("model.safetensors", 20_000),
    "no weights": cut("model.safetensors", 0),
    "a header without end": written("model.safetensors", b"\xff" * 64),
    "a header of a terabyte": written("model.safetensors", (1 << 40).to_bytes(8, "little") + b"{}"),
    "a configuration that is cut off": cut("config.json", 30),
    "a configuration that is a list": written("config.json", b"[1, 2]"),
    "a configuration that is deep": written("config.json", b'{"a":' * 50_000),
    "a configuration that is no text": written("config.json", b"\xff\xfe\x00\x00"),
    "another size": sized(vocab_size=7),
    "a size in words": sized(hidden_size="many"),
    "a tokenizer that is cut off": cut("tokenizer.json", 100),
    "a tokenizer of another kind": written(
        "tokenizer.json", b'{"version":"1.0","model":{"type":"x"}}'
    ),
    "a tokenizer that is a number": written("tokenizer.json", b"7"),
}
