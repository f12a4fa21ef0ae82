# `just` lists these; each runs through uv, which sets up whatever is missing.

default:
    @just --list

# the tests of every day, in minutes
test *words:
    uv run pytest {{words}}

# all tests, as CI runs them
test-all *words:
    uv run pytest -m "slow or not slow" {{words}}

# style, layout and types
lint:
    uv run ruff check .
    uv run ruff format --check .
    uv run mypy
    uv run mypy --allow-untyped-calls --no-warn-return-any benchmarks/*.py

# the generated parts of the documentation
docs:
    uv run python docs/make_cli.py
    uv run cog -I docs -r README.md docs/*.md docs/*/*.md

# the documentation as a site, in build/site
site:
    uv run mkdocs build --strict

# everything that is measured, with the tables made from it
bench:
    uv run python benchmarks/elicitation.py
    uv run python benchmarks/stress.py
    uv run python benchmarks/deciding.py
    uv run python benchmarks/parts.py
    uv run python benchmarks/pocket.py
    uv run python benchmarks/contrasts.py
    uv run python benchmarks/calibration.py
    uv run python benchmarks/suspects.py
    uv run python benchmarks/solvers.py
    uv run python benchmarks/scale.py
    uv run python benchmarks/beside.py
    uv run python benchmarks/local.py
    uv run python benchmarks/corrections.py
    uv run python benchmarks/newrows.py
    uv run --group bench python benchmarks/ablation.py
    uv run --group bench python benchmarks/transport.py
    uv run --group bench python benchmarks/votes.py
    just docs

# the same where there is an NVIDIA card
device:
    uv run python benchmarks/device.py
    just docs

# what the gold of the public data sets can be guessed from: `just audits FOLDER`
audits folder:
    uv run python benchmarks/audits.py {{folder}}
    just docs

# the contract suite against the real servers that CONSILIENCE_*_PYTHON name, or against those named
realserver *words:
    uv run python benchmarks/contract.py {{words}}
    uv run cog -I docs -r docs/servers.md

# label TruthfulQA through a real server: `just truthfulqa vllm FOLDER`
truthfulqa kind model:
    uv run python benchmarks/realserver.py {{kind}} {{model}}
