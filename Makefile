# `make demo` and `make test` need python3 (3.11 or later) and set up the rest by themselves.

PYTHON ?= python3
SEED ?= 0
PY := .venv/bin/python
DEMO := .venv/.demo
INSTALLED := .venv/.installed
# The tests of a file stay in one process: what they share is made once.
PYTEST := pytest -q --numprocesses 2 --dist loadfile

# There the rest of a test that is skipped is unreachable, and these need Linux.
ELSEWHERE := --no-warn-unreachable --cache-dir .mypy_cache/elsewhere --exclude \
    '^(benchmarks/(faults/|side_by_side/|(doors|fleet|simulator)\.py)|tests/(test_side_by_side|attacks/(attacks|run|victim|__main__)\.py|(test_)?(fleet_demo|real_network)))'

.DEFAULT_GOAL := help
.PHONY: help demo fleet-demo test check diagrams prove prove-all mutants simulate soak fuzz attacks \
    soak-attacks instructions network soak-network interop-short interop put-back bench \
    bench-quick bench-faults bench-tools bench-fleet clean docs page-pictures tools

help:
	@echo 'make demo          two processes, a lost link, the breaker, and the link back: under 30 s'
	@echo 'make fleet-demo    three processes share 50 tools and take over from each other: under a minute'
	@echo 'make test          the tests: about ten minutes'
	@echo 'make check         format, lint, types, tests, coverage'
	@echo 'make diagrams      draw the charts into diagrams/, write the pages of docs/ that are made of code'
	@echo 'make page-pictures the pictures of docs/monitor.md, by a browser: under a minute'
	@echo 'make docs          the site of the documents, into build/site: under a minute'
	@echo 'make prove         model-check the charts and print what holds: under four minutes'
	@echo 'make prove-all     every mutant, 1,000 settings of time, the largest search: hours'
	@echo 'make mutants       try COUNT=200 small faults of the code, chosen by SEED=0: 20 to 40 minutes'
	@echo 'make simulate      2,000 storms of faults in memory, from seeds: three minutes'
	@echo 'make soak          the same for SEEDS=100000, then an hour of make fuzz'
	@echo 'make fuzz          FUZZ_SECONDS=60 seconds of chance for the whole engine, guided by coverage'
	@echo 'make attacks       hostile peers beside an honest session: under three minutes'
	@echo 'make soak-attacks  the same with 10,000 reconnects, and a table of the figures'
	@echo 'make instructions  count the machine instructions of small pieces of work: one minute'
	@echo 'make network       faults on a real network, held against the bounds; as root: three minutes'
	@echo 'make soak-network  all of these faults: ten minutes'
	@echo 'make interop-short other engines of PyPI and npm beside this one: two minutes'
	@echo 'make interop       more of that, and docs/interop.md: three minutes'
	@echo 'make put-back      twelve faults of the past put back: each must be found; as root: ten minutes'
	@echo 'make bench         this engine, others and bare trio side by side, with plots: over half an hour'
	@echo 'make bench-quick   the shortest of it: under a minute'
	@echo 'make bench-faults  what slow, hostile and late peers cost the others: under two minutes'
	@echo 'make bench-tools   what a simulated tool costs: under a minute'
	@echo 'make bench-fleet   1,000 tools on three processes and one store: two minutes'
	@echo 'make clean         remove everything that the other targets made, also .venv'

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo 'Python 3.11 or later is needed: make PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
	    echo 'no virtual environment could be made: install python3-venv' >&2; exit 1; }

# Touched last, so that an interrupted installation is done again. The demo runs from the source: to
# build the package would take as long as all the rest.
$(DEMO): pyproject.toml | $(PY)
	@echo 'installing what hsms-engine needs into .venv'
	@$(PY) -c 'import subprocess, sys, tomllib; \
	    needed = tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]; \
	    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]; \
	    sys.exit(subprocess.call([*pip, *needed]))'
	@touch $@

$(INSTALLED): pyproject.toml | $(PY)
	@echo 'installing hsms-engine, and what its tests need, into .venv'
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(DEMO) $@

tools: $(INSTALLED)
	@$(PY) -m tests.support.install

demo: $(DEMO)
	@$(PY) -m hsms_engine.demo

fleet-demo: $(INSTALLED)
	@$(PY) -m tests.fleet_demo

# CI runs the test command of the README and must check everything: there `test` runs all that takes
# minutes.
ifeq ($(CI),true)
test: check instructions prove simulate fuzz attacks network interop-short
else
test: $(INSTALLED) tools
	@$(PY) -X warn_default_encoding -m $(PYTEST)
endif

check: $(INSTALLED) tools
	@$(PY) -m ruff format --check --quiet . || { \
	    echo 'not formatted: run .venv/bin/ruff format' >&2; exit 1; }
	@$(PY) -m ruff check --quiet .
	@$(PY) -m mypy --no-error-summary
	@$(PY) -m mypy --no-error-summary --platform darwin $(ELSEWHERE)
	@$(PY) -m mypy --no-error-summary --platform win32 $(ELSEWHERE)
	@$(PY) -m coverage erase
	@$(PY) -X warn_default_encoding -m coverage run -m $(PYTEST) -m 'not search'
	@$(PY) -X warn_default_encoding -m $(PYTEST) -m search
	@$(PY) -m coverage combine --quiet
	@$(PY) -m coverage report

diagrams: $(INSTALLED) tools
	@$(PY) -m statecharts.hsms.pictures diagrams
	@$(PY) -m tests.proof.page
	@$(PY) -m tests.proof.lease_page
	@$(PY) -m tests.support.messages_page
	@$(PY) -m tests.support.metrics_page
	@$(PY) -m tests.support.settings_page

# The folder of the sources is that of the project, so that the links of the pages hold everywhere.
docs: $(INSTALLED)
	@$(PY) -m sphinx --quiet --fail-on-warning --keep-going --fresh-env -c docs \
	    -d build/doctrees . build/site
	@echo 'the site: build/site/index.html'

page-pictures: $(INSTALLED) tools
	@$(PY) -m tests.support.monitor_pictures

prove: $(INSTALLED) tools
	@$(PY) -m tests.proof --seed $(SEED)

prove-all: $(INSTALLED) tools
	@$(PY) -m tests.proof --all

COUNT ?= 200
mutants: $(INSTALLED)
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[dev,mutants]'
	@$(PY) -m tests.code_mutants $(COUNT) $(SEED)

simulate: $(INSTALLED)
	@$(PY) -m tests.simulation --seeds 2000 --jobs 2

SEEDS ?= 100000
soak: $(INSTALLED)
	@$(PY) -m tests.simulation --seeds $(SEEDS) --first $(SEED) --jobs 2
	@$(MAKE) fuzz FUZZ_SECONDS=3600

# New inputs go to a folder that is removed: what is to be kept goes to tests/corpus/engine.
FUZZ_SECONDS ?= 60
fuzz: $(INSTALLED)
	@found=$$(mktemp -d) && trap 'rm -rf "$$found"' EXIT && PYTHONPATH=. $(PY) tests/fuzz_engine.py \
	    "$$found" tests/corpus/engine -max_total_time=$(FUZZ_SECONDS) -max_len=1500 -timeout=30 \
	    -rss_limit_mb=2048 -print_final_stats=1

attacks: $(INSTALLED)
	@$(PY) -m tests.attacks --short

soak-attacks: $(INSTALLED)
	@$(PY) -m tests.attacks --table

instructions: $(INSTALLED) tools
	@$(PY) -m tests.instructions

network: $(INSTALLED) tools
	@$(PY) -m tests.real_network --short --seed $(SEED)

soak-network: $(INSTALLED) tools
	@$(PY) -m tests.real_network --seed $(SEED)

interop-short: $(INSTALLED) tools
	@$(PY) -m tests.interop --short

interop: $(INSTALLED) tools
	@$(PY) -m tests.interop --write docs/interop.md

put-back: $(INSTALLED) tools
	@$(PY) -m tests.put_back

# For example BENCH="--rounds 7 --subjects engine,floor --cases 'sequential;64 in flight'".
bench: $(INSTALLED)
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	@$(PY) -m benchmarks.side_by_side $(BENCH)

bench-quick: $(INSTALLED)
	@$(PY) -m benchmarks.side_by_side --quick $(BENCH)

bench-faults: $(INSTALLED)
	@$(PY) -m benchmarks.faults

bench-tools: $(INSTALLED)
	@$(PY) -m benchmarks.simulator

bench-fleet: $(INSTALLED)
	@$(PY) -m benchmarks.fleet

clean:
	@rm -rf .venv build dist *.egg-info .coverage .coverage.* .hypothesis .mypy_cache \
	    .pytest_cache .ruff_cache tests/interop/.peers tests/interop/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
