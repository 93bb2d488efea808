# Every target installs what it needs into .venv and works a second time.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --constraint constraints.txt
say = @printf '\n\033[1m==> %s\033[0m\n' "$(1)"

.DEFAULT_GOAL := help
.PHONY: help compiled interpreted simulate simulate-queues simulate-rollouts simulate-spool study bench-hub bench-rollout bench-capture bench-engine bench-analysis up down test kills lint format bench-serve bench-failover bench-gateway protos check-protos conformance slow images e2e-containers e2e-cluster clean

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	$(call say,Making a virtual environment in $(VENV))
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Edgewise needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# What runs the system: the server, the client and what builds the example models.
$(VENV)/.installed-run: pyproject.toml constraints.txt hatch_build.py services/edgewise/protocols/_json_tensor.c | $(BIN)/python
	$(call say,Installing Edgewise and what builds its example models (about 300 MB; a minute))
	$(PIP) --editable '.[models,grpc,compile,hub,agent]'
	@touch $@

# What tests it: TensorFlow, BentoML and the checkers as well.
$(VENV)/.installed-dev: $(VENV)/.installed-run
	$(call say,Installing what the tests need: TensorFlow and BentoML among it (about 2 GB; some minutes))
	$(PIP) --editable '.[models,grpc,compile,hub,agent,kubernetes,fetch,study,train,tensorflow,bentoml,dev]'
	@touch $@

compiled: $(VENV)/.installed-run ## compile the hot path beside its sources, as wheels have it
	$(call say,Compiling the hot path (a minute where it has changed))
	@$(BIN)/python hot_path.py

interpreted: | $(BIN)/python ## let Python interpret the sources, as one who changes them wants it
	@$(BIN)/python hot_path.py --remove

up: $(VENV)/.installed-run ## run the whole system here and end in real predictions
	$(call say,Compiling the hot path (a minute where it has changed))
	@$(BIN)/python hot_path.py || true
	$(call say,Starting Edgewise)
	$(BIN)/edgewise up

down: ## stop what `make up` started
	@if test -x $(BIN)/edgewise; then $(BIN)/edgewise down; else echo "Edgewise is not installed here; nothing runs"; fi

test: $(VENV)/.installed-dev interpreted ## lint, types, contracts and the tests
	$(call say,Checking style types and import contracts)
	@$(MAKE) --no-print-directory lint
	$(call say,Running the unit property and integration tests)
	$(BIN)/python -m pytest tests/unit tests/property --numprocesses 2 --dist worksteal
	# They wait more than they compute.
	$(BIN)/python -m pytest tests/integration --ignore-glob='*/test_*kills.py' --numprocesses 4 --dist loadfile --no-loadscope-reorder

kills: $(VENV)/.installed-dev ## kill whatever writes to a disk before and after every call that makes something last (minutes)
	$(call say,Running the tests that kill)
	$(BIN)/python -m pytest $(sort $(wildcard tests/integration/*/test_*kills.py tests/integration/*/*/test_*kills.py)) --numprocesses 2

lint: $(VENV)/.installed-dev ## ruff, mypy strict, import contracts, generated code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=services $(BIN)/lint-imports
	$(BIN)/python protos/generate.py --check

format: $(VENV)/.installed-dev ## let ruff write the style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

protos: $(VENV)/.installed-dev ## regenerate services/edgewise/wire from protos/
	$(BIN)/python protos/generate.py

conformance: $(VENV)/.installed-dev ## unmodified public clients against a real server
	$(call say,Running the conformance suite)
	$(BIN)/python -m pytest tests/conformance

slow: $(VENV)/.installed-dev compiled ## conformance, end-to-end and chaos suites, and those over sockets once more, compiled
	$(call say,Running the conformance end-to-end and chaos suites)
	$(BIN)/python -m pytest tests/conformance tests/e2e tests/chaos --numprocesses 2 --dist loadfile --no-loadscope-reorder \
		--ignore=tests/e2e/containers --ignore=tests/e2e/systemd --ignore=tests/e2e/cluster
	$(call say,Running the network suites with the hot path compiled)
	$(BIN)/python -m pytest tests/integration/net tests/integration/gateway/rest tests/integration/gateway/grpc \
		tests/integration/study/test_mlperf_network.py --numprocesses 4 --dist loadfile

images: ## build the container images with podman, or docker where there is no podman
	$(call say,Building the container images)
	@deploy/images/build

e2e-containers: $(VENV)/.installed-dev ## build the images, look into them, run the system in containers and under systemd
	$(call say,Running the containers suite)
	$(BIN)/python -m pytest tests/e2e/containers tests/e2e/systemd -v -s

e2e-cluster: $(VENV)/.installed-dev ## install on a Kubernetes cluster; roll out and kill and drain and cut it under load
	$(call say,Running the cluster suite)
	$(BIN)/python -m pytest tests/e2e/cluster -v -s $(CLUSTER)

$(VENV)/.installed-study: $(VENV)/.installed-run
	$(call say,Installing what studies need: Locust and pyarrow and matplotlib among it (about 300 MB; a minute))
	$(PIP) --editable '.[models,grpc,compile,study]'
	@touch $@

SCENARIO ?= quick
study: $(VENV)/.installed-study compiled ## cloud or edge, measured: the report in .edgewise/studies/quick; SCENARIO=tradeoff takes a quarter of an hour
	$(call say,Measuring the scenario $(SCENARIO))
	$(BIN)/edgewise study run $(SCENARIO) --out .edgewise/studies/$(notdir $(basename $(SCENARIO))) --force

bench-hub: $(VENV)/.installed-dev ## a thousand agents against one hub: does it converge, how late are its answers, how much memory
	$(BIN)/python loadtests/bench_hub.py $(BENCH)

bench-rollout: $(VENV)/.installed-bench compiled ## what a rollout costs one site: the switch under load and a bad version and bytes on the wire
	$(BIN)/python loadtests/bench_rollout.py $(BENCH)

bench-capture: $(VENV)/.installed-bench compiled ## what capture costs a gateway: processor time a request and latency
	$(BIN)/python loadtests/bench_capture.py $(BENCH)

bench-engine: $(VENV)/.installed-study compiled ## how late the load engine is; what it tells of a server that stalls and what Locust tells
	$(BIN)/python loadtests/bench_engine.py $(BENCH)

bench-analysis: $(VENV)/.installed-study ## ten million recorded requests analysed: time and memory
	$(BIN)/python loadtests/bench_analysis.py $(BENCH)

simulate-queues: $(VENV)/.installed-study ## the waiting-time formulas against a discrete-event simulation
	$(BIN)/python loadtests/simulate_queues.py $(SIMULATE)

simulate-rollouts: $(VENV)/.installed-dev ## a release to a thousand virtual sites, some offline, some crashing
	$(BIN)/python loadtests/simulate_rollouts.py $(SIMULATE)

simulate-spool: $(VENV)/.installed-run ## a day's outage against the bound of a spool: what was kept and how evenly
	$(BIN)/python loadtests/simulate_spool.py $(SIMULATE)

simulate: $(VENV)/.installed-dev compiled ## a million virtual requests through a hundred failing sites
	$(BIN)/python loadtests/simulate_routing.py $(SIMULATE)

$(VENV)/.installed-bench: loadtests/bench_serve/requirements.txt $(VENV)/.installed-dev
	$(call say,Installing the servers to compare with)
	$(PIP) --requirement loadtests/bench_serve/requirements.txt
	@touch $@

bench-serve: $(VENV)/.installed-bench compiled ## measure ours against ONNX Runtime, FastAPI and BentoML
	$(BIN)/python loadtests/bench_serve.py $(BENCH)

$(VENV)/.installed-bench-failover: loadtests/bench_failover/requirements.txt $(VENV)/.installed-run
	$(call say,Installing the gateways to compare with)
	$(PIP) --requirement loadtests/bench_failover/requirements.txt
	@export PATH="$$PATH:/usr/sbin"; missing=; for program in haproxy nginx; do \
		command -v $$program >/dev/null || missing="$$missing $$program"; done; \
	if test -n "$$missing"; then apt-get install --yes --no-install-recommends $$missing || \
		echo "not installed:$$missing; the bench leaves them out" >&2; fi
	@touch $@

bench-failover: $(VENV)/.installed-bench-failover compiled ## put the gateway, Envoy, HAProxy and nginx through the fault matrix
	$(BIN)/python loadtests/bench_failover.py $(BENCH)

# Installing Debian's nginx and HAProxy starts them as services, which the bench has no use for.
$(VENV)/.installed-bench-gateway: loadtests/bench_gateway/requirements.txt $(VENV)/.installed-dev
	$(call say,Installing the proxies to compare with)
	@export PATH="$$PATH:/usr/sbin:/sbin"; missing=; for program in nginx haproxy wrk; do \
		command -v $$program >/dev/null || missing="$$missing $$program"; done; \
	test -z "$$missing" || { test "$$(id -u)" = 0 && apt-get install --yes --no-install-recommends $$missing; } || { \
		echo "The bench compares with these and they are not installed:$$missing" >&2; \
		echo "Install them as root and try again: apt-get install --no-install-recommends$$missing" >&2; exit 1; }
	$(PIP) --requirement loadtests/bench_gateway/requirements.txt
	@touch $@

bench-gateway: $(VENV)/.installed-bench-gateway compiled ## measure the gateway against Envoy nginx HAProxy and others
	$(BIN)/python loadtests/bench_gateway.py $(BENCH)

clean: down ## stop it; remove the virtual environments and what the system wrote
	rm -rf $(VENV) .venv-* .edgewise build
