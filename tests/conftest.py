"""What every test stands on: no inherited settings, and Ctrl-C where a test presses it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest

# A process of the tests has a core to itself, and so have those that it starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Bytecode is kept, whatever the environment says: each process that tests start would compile the
# whole package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@pytest.fixture(autouse=True, scope="session")
def as_at_a_terminal() -> Iterator[None]:
    """SIGINT interrupts, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True, scope="session")
def without_the_settings_of_this_machine() -> Iterator[None]:
    """No key, server, data or proxy of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("CONSILIENCE_", "OPENAI_", "OPENROUTER_")) or name.lower() in (
                "http_proxy",
                "https_proxy",
                "all_proxy",
            ):
                patch.delenv(name)
        yield
