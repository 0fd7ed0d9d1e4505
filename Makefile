# Every line calls a tool; CI calls the same targets. `make run` and `make test` are all that a newcomer needs.
PYTHON ?= python3
RUN    := .venv
DEV    := .venv-dev
PEERS  := .venv-peers
PEER_DETECTORS := .venv-peer-detectors
define CHECK_PYTHON
command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not there: Python 3.11 or newer is needed (set PYTHON=...)" >&2; exit 1; }; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + " (set PYTHON=...)" or 0)'
endef
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help run demo test test-long check stock-uvicorn plain-loop fuzz bench bench-gate bench-peers bench-peer-detectors dist lock clean

help:            ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 16

run: $(RUN)/ready      ## start the proxy (ARGS="--upstream http://... --policies DIR")
	@$(RUN)/bin/safety-proxy serve $(ARGS)

demo: $(RUN)/ready     ## the raw stream beside the guarded one, in the terminal
	@$(RUN)/bin/safety-proxy demo $(ARGS)

test: check      ## check, then the tests, all but the long ones
	@$(DEV)/bin/python -m tests.sdk.npm
	@$(DEV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not long" $(ARGS)

test-long: $(DEV)/long ## what takes long: faults planted in a copy, several replicas, all examples of the matcher's properties
	@$(DEV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m long $(ARGS)
	@FUZZ_EXAMPLES=1 $(DEV)/bin/python -m pytest -n 2 -q tests/matching

check: $(DEV)/ready    ## ruff, mypy --strict (for Windows and macOS too), layer test, hadolint, what is in deploy/
	@$(DEV)/bin/ruff check --no-cache .
	@$(DEV)/bin/ruff format --check --no-cache --quiet . || { echo "run: $(DEV)/bin/ruff format ."; exit 1; }
	@$(DEV)/bin/mypy
	@for system in win32 darwin; do $(DEV)/bin/mypy --platform $$system --cache-dir .mypy_cache/$$system proxy || exit 1; done
	@$(DEV)/bin/python -m pytest -q tests/test_layers.py tests/deploy/test_services.py tests/deploy/test_containers.py
	@$(DEV)/bin/hadolint Dockerfile

stock-uvicorn: $(DEV)/ready ## what uvicorn lacks without our protocol class: the front's tests, printed, not judged
	@$(DEV)/bin/python -m tests.stock_uvicorn

plain-loop: $(DEV)/ready ## the listener and the ends on asyncio's own loop, as on Windows
	@$(DEV)/bin/python -m pytest -q --plain-loop tests/server/test_stopping.py tests/server/http

fuzz: $(DEV)/ready     ## random texts, rules and streams for longer (MINUTES=10 for all decoders, FUZZ_EXAMPLES times the matcher's)
	@FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-5} $(DEV)/bin/python -m pytest -q tests/matching/test_exactness.py
	@$(DEV)/bin/python -m fuzz.run --minutes $${MINUTES:-10}

bench: $(DEV)/ready    ## what the proxy costs, beside nginx, a naive proxy and LiteLLM (ARGS=--quick)
	@$(DEV)/bin/python -m bench $(ARGS)
	@$(DEV)/bin/python -m bench.prompts $(if $(findstring --quick,$(ARGS)),--quick)
	@$(DEV)/bin/python -m bench.fairness $(if $(findstring --quick,$(ARGS)),--rounds 1)
	@$(DEV)/bin/python -m bench.guards

bench-gate: $(DEV)/ready ## two minutes of it, for CI: fails when the proxy has become slower
	@$(DEV)/bin/python -m bench.gate $(ARGS)

bench-peers:     ## LiteLLM for the bench, into an environment of its own (large; some minutes)
	@$(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip --disable-pip-version-check install --progress-bar off -r bench/peers.txt

bench-peer-detectors:  ## other packages' detectors for bench.detection, into an environment of its own (large)
	@$(PYTHON) -m venv $(PEER_DETECTORS)
	@$(PEER_DETECTORS)/bin/python -m pip --disable-pip-version-check install --progress-bar off -r bench/peer-detectors.txt

dist: $(DEV)/ready     ## wheel and sdist in dist/, checked, and the wheel tried in an empty environment
	@rm -rf dist
	@$(DEV)/bin/python -m build --outdir dist .
	@$(DEV)/bin/python -m twine check --strict dist/*
	@$(DEV)/bin/python -m tools.try_wheel dist/*.whl

lock:            ## resolve the dependencies anew (needs uv)
	@for x in run dev; do extra="--extra redis"; [ $$x = dev ] && extra="--extra dev"; \
	uv pip compile pyproject.toml requirements/build.in $$extra --universal --python-version 3.11 --upgrade \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet -o requirements/$$x.lock; done
	@uv pip compile requirements/long.in --no-deps --universal --python-version 3.11 --upgrade --constraint requirements/dev.lock \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet -o requirements/long.lock

clean:           ## remove the virtual environments and caches
	@rm -rf $(RUN) $(DEV) $(PEERS) $(PEER_DETECTORS) .mypy_cache .ruff_cache .hypothesis build dist *.egg-info tests/sdk/node/node_modules

$(RUN)/ready: requirements/run.lock pyproject.toml
	@$(CHECK_PYTHON)
	@$(PYTHON) tools/install.py $(RUN) requirements/run.lock
	@touch $@

$(DEV)/long: $(DEV)/ready requirements/long.lock
	@echo "installing what requirements/long.lock names"
	@$(DEV)/bin/python -m pip --disable-pip-version-check install --progress-bar off --quiet --no-deps --require-hashes -r requirements/long.lock
	@touch $@

$(DEV)/ready: requirements/dev.lock pyproject.toml
	@$(CHECK_PYTHON)
	@$(PYTHON) tools/install.py $(DEV) requirements/dev.lock
	@touch $@
