"""A model in one GGUF file: the same answers as from the folder that it was made of."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from consilience.errors import InputError, MissingExtra
from consilience.models import local_files
from consilience.models.base import Answer
from consilience.models.local import LocalModel, open_local
from consilience.models.local_files import POCKET
from wire_client import all_requests

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers" / "realserver"))

from to_gguf import convert


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(POCKET, tmp_path_factory.mktemp("model") / "small.gguf")


def answers(model: LocalModel) -> list[Answer]:
    async def ask() -> list[Answer]:
        return await asyncio.gather(*map(model.ask, all_requests("text")[:6]))

    return asyncio.run(ask())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_its_answers_are_those_of_the_folder(
    file: Path, dtype: str, capfd: pytest.CaptureFixture[str]
) -> None:
    packed, plain = open_local(str(file), dtype=dtype), open_local("pocket", dtype=dtype)
    assert packed.settings == plain.settings
    got, wanted = ([a.logprobs for a in answers(model)] for model in (packed, plain))
    assert np.allclose(got, wanted, atol=1e-5)
    assert np.ptp(wanted) > 0.5
    assert capfd.readouterr() == ("", "")


def test_its_name_is_that_of_what_is_in_it(file: Path, tmp_path: Path) -> None:
    (tmp_path / "small.gguf").write_bytes(file.read_bytes())
    name = local_files.find_model(str(file)).called
    assert name == local_files.find_model(str(tmp_path)).called
    assert name.startswith("small@")
    with (tmp_path / "small.gguf").open("ab") as more:
        more.write(b"!")
    assert local_files.find_model(str(tmp_path)).called != name
    (tmp_path / "other.gguf").write_bytes(b"")
    with pytest.raises(InputError, match=r"it has no config\.json"):
        local_files.find_model(str(tmp_path))


@pytest.mark.parametrize("size", [0, 40, 5000])
def test_one_that_is_cut_off_is_refused_in_one_line(file: Path, tmp_path: Path, size: int) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(file.read_bytes()[:size])
    with pytest.raises(InputError, match=r"^cannot load the model .*cut\.gguf: [^\n]+$"):
        open_local(str(cut))


def test_without_the_package_the_extra_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(local_files, "find_spec", lambda n: None if n == "gguf" else found(n))
    with pytest.raises(MissingExtra, match=r"consilience\[gguf\]"):
        open_local(str(file))
