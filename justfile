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

# a benchmark: pipeline, rebuild, replay, latency, feeds, wire, book, indicators, screener, backtest, verify, growth, archive, soak
bench name *arguments: setup
    {{ python }} -m tidemill.deploy.cli bench {{ name }} {{ arguments }}

# delete what a demo left
clean:
    rm -rf .tidemill

# faults on a running engine, by seed, each round held against log and tables; a report beside
faults *arguments: setup
    {{ python }} -m tidemill.tests.faults {{ arguments }}

# every crash point and server kill under heavy load, and every n-th system call of the servers
kills: setup
    TIDEMILL_FAULTS=full TIDEMILL_FAULTS_REPORT=faults.jsonl {{ python }} -m pytest -q -s tests/faults

# the engine's own code through crashes, zombies and lost answers, one schedule a seed
simulate *arguments: setup
    {{ python }} -m tidemill.tests.faults.simulation {{ arguments }}

# does every injected defect still fail a test? writes tests/faults/DEFECTS.md
defects: setup
    {{ python }} -m tidemill.tests.faults.defects

# an hour with everything running: is anything growing?
soak *arguments: setup
    {{ python }} -m tidemill.deploy.cli bench soak --seconds 3600 --report tests/bench/reports {{ arguments }}

# write the generated documents anew: SBE schema, JSON Schemas, AsyncAPI
documents: setup
    {{ python }} -m tidemill.streams.documents
