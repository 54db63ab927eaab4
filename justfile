# One verb, one recipe; CI runs the same ones.

export UV_PYTHON_DOWNLOADS := "never"
python := ".venv/bin/python"

# list the recipes
default:
    @just --list

# make .venv from the lock when it is not current
setup:
    #!/usr/bin/env sh
    set -eu
    want="$(cat requirements.lock pyproject.toml | sha256sum)"
    if [ -x {{ python }} ] && [ "$(cat .venv/.current 2>/dev/null)" = "$want" ]; then exit 0; fi
    uv venv --quiet --allow-existing --python '>=3.11' .venv
    uv pip sync --quiet --python {{ python }} --require-hashes requirements.lock
    uv pip install --quiet --python {{ python }} --no-deps --no-build-isolation --editable .
    echo "$want" > .venv/.current

# everything on this machine: servers, exchange, feeds, processors, tables, queries
demo *arguments: setup
    {{ python }} -m tidemill.deploy.cli demo {{ arguments }}

# all tests, the servers they need included
test *arguments: setup
    {{ python }} -m pytest -q {{ arguments }}

# format, lint, types, import rules, tests
check: lint
    just test

# what `check` does before the tests
lint: setup
    .venv/bin/ruff format --check .
    .venv/bin/ruff check .
    .venv/bin/mypy
    .venv/bin/lint-imports

# write the code in the one format
fmt: setup
    .venv/bin/ruff format .
    .venv/bin/ruff check --fix .

# pin what pyproject.toml asks for; hashes, no download addresses
lock:
    uv pip compile pyproject.toml --extra embedded --group dev --universal --python-version 3.11 --generate-hashes --output-file requirements.lock

# a benchmark: pipeline, rebuild, replay, latency, verify, growth, archive
bench name *arguments: setup
    {{ python }} -m tidemill.deploy.cli bench {{ name }} {{ arguments }}

# delete what a demo left
clean:
    rm -rf .tidemill

# every crash point and server kill under half the pipeline's rate; a report beside
faults: setup
    TIDEMILL_FAULTS=full TIDEMILL_FAULTS_REPORT=faults.jsonl {{ python }} -m pytest -q -s tests/faults

# write the generated documents anew: SBE schema, JSON Schemas, AsyncAPI
documents: setup
    {{ python }} -m tidemill.streams.documents
