# The commands of the project. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
ARGS ?=
TEST_JOBS ?= 2
PEER_GATEWAYS := tests/bench/peers
PEER_GATEWAYS_INSTALLED := $(PEER_GATEWAYS)/.venv/installed
SERVICES := mosquitto influxd victoria-metrics chromium strace gcc mbpoll npm systemd-analyze ip

.PHONY: help demo test custody custody-long custody-peers slow check services system-services bench bench-peers models soak lock clean
.DEFAULT_GOAL := help

help: ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Forewarn needs Python 3.11 or newer; this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: $(INSTALLED) ## a simulated plant wears out before your eyes: make demo ARGS="--minutes 2 --scenario cavitation"
	$(BIN)/forewarn demo $(ARGS)

test: $(INSTALLED) ## every test but the slow ones, two files at a time: TEST_JOBS=1 for one
	$(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile -m "not slow and not bench" $(ARGS)

custody: $(INSTALLED) ## prove that nothing is lost: each fault in turn; ARGS=--write-custody writes docs/CUSTODY.md
	$(BIN)/python -m pytest -s -m "not slow and not bench" tests/custody $(ARGS)

custody-long: $(INSTALLED) ## faults drawn at random for ten minutes, on both stores: FOREWARN_SEED repeats a run
	$(BIN)/python -m pytest -s -m "slow" tests/custody $(ARGS)

custody-peers: $(INSTALLED) $(PEER_GATEWAYS_INSTALLED) ## the same faults for ThingsBoard's gateway and ours, a quarter of an hour
	$(BIN)/python -m pytest -s -m "bench" tests/custody $(ARGS)

slow: $(INSTALLED) ## the tests that take minutes each
	$(BIN)/python -m pytest -m "slow" $(ARGS)

check: $(INSTALLED) ## ruff, mypy --strict, import rules, house rules, deployment files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_house_rules.py tests/test_deployment_files.py

PEERS := tests/peers
PEERS_INSTALLED := $(PEERS)/node_modules/installed

services: system-services $(PEERS_INSTALLED) ## the servers that tests talk to: by apt (Debian, Ubuntu) and npm

$(PEERS_INSTALLED): $(PEERS)/package.json | system-services
	cd $(PEERS) && npm install --no-package-lock --no-audit --no-fund --ignore-scripts --omit=optional --loglevel=error
	@touch $@

system-services:
	@missing=; for program in $(SERVICES); do PATH=$$PATH:/usr/sbin command -v $$program >/dev/null || missing=yes; done; \
	[ -e /usr/include/modbus/modbus.h ] || missing=yes; \
	if [ -z "$$missing" ]; then echo "services are here: $(SERVICES)"; exit 0; fi; \
	sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	$$sudo apt-get update -q && $$sudo env DEBIAN_FRONTEND=noninteractive \
	  apt-get install -y -q --no-install-recommends mosquitto influxdb victoria-metrics chromium strace \
	  gcc libc6-dev libmodbus-dev mbpoll e2fsprogs iproute2 openssl systemd; \
	command -v npm >/dev/null || $$sudo env DEBIAN_FRONTEND=noninteractive \
	  apt-get install -y -q --no-install-recommends nodejs npm

bench: $(INSTALLED) ## the benchmarks: ratios measured side by side
	$(BIN)/python -m pytest -m bench -s -q tests/bench $(ARGS)

bench-peers: $(INSTALLED) $(PEERS_INSTALLED) $(PEER_GATEWAYS_INSTALLED) ## beside ThingsBoard's gateway and Node-RED: ARGS=--write-peers writes docs/PEERS.md
	$(BIN)/python -m pytest -m bench -s -q tests/bench/test_bench_peers.py $(ARGS)

$(PEER_GATEWAYS_INSTALLED): $(PEER_GATEWAYS)/requirements.txt $(PEER_GATEWAYS)/package.json
	$(PYTHON) -m venv $(PEER_GATEWAYS)/.venv
	$(PEER_GATEWAYS)/.venv/bin/python -m pip install --quiet -r $(PEER_GATEWAYS)/requirements.txt
	cd $(PEER_GATEWAYS) && npm install --no-package-lock --no-audit --no-fund --ignore-scripts --omit=optional --loglevel=error
	@touch $@

soak: $(INSTALLED) $(PEERS_INSTALLED) ## a day of the gateway in a quarter of an hour: make soak ARGS="--minutes 5 --write docs/SOAK.md"
	$(BIN)/python -m tests.soak $(ARGS)

DATA ?= ../shared/data
models: $(INSTALLED) ## judge the detectors on recorded machines, write docs/MODELS.md: make models DATA=DIR
	$(BIN)/forewarn models benchmark all --data $(DATA)

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
lock: $(INSTALLED) ## compile the lock files anew from pyproject.toml
	$(COMPILE) --all-extras pyproject.toml --output-file requirements.lock
	$(COMPILE) --extra edge --constraints requirements.lock pyproject.toml --output-file requirements-edge.lock
	$(COMPILE) --extra cloud --extra parquet --constraints requirements.lock pyproject.toml --output-file requirements-cloud.lock

clean: ## remove the environment and the caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
