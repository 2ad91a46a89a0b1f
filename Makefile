# Everything a person does with this folder. Nothing has to be done by hand before any of these.
# ARGS reaches the command: make run ARGS="--rate 200".

VENV ?= .venv
PY := $(VENV)/bin/python
RUN := $(VENV)/.installed-run
DEV := $(VENV)/.installed-dev
PORT ?= 9092
MINUTES ?= 5
TESTERS ?= 3
EXAMPLE := examples/incidents
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run example test check bench chaos kafka lock clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(RUN) ## install what is missing, then start everything on this machine; Ctrl-C ends it
	@$(PY) scripts/foreground $(VENV)/bin/feedback demo $(ARGS)

example: $(RUN) ## the same with a real log of 890 incidents instead of sample traffic
	@$(PY) scripts/foreground $(VENV)/bin/feedback demo --config $(EXAMPLE)/feedback.toml \
	  --replay $(EXAMPLE)/incident_event_log.csv.gz --map $(EXAMPLE)/incidents.toml $(ARGS)

test: $(DEV) ## the whole test suite, three tests at a time; TESTERS=0, ARGS="-k brokers -x"
	@$(PY) -m pytest -n $(TESTERS) --dist worksteal $(ARGS)

check: $(DEV) ## linter, formatter and types
	@status=0; \
	  $(VENV)/bin/ruff check . || status=1; \
	  $(VENV)/bin/ruff format --check . || status=1; \
	  $(VENV)/bin/mypy || status=1; \
	  exit $$status

bench: $(DEV) ## how fast the worker drains Apache Kafka, beside others; RECORDS=200000, PROFILE=1
	@$(PY) -m bench $(ARGS)

chaos: $(DEV) ## kill, freeze and cut off real processes, then recount; MINUTES=5, ARGS="--seed 1"
	@MINUTES=$(MINUTES) $(PY) -m tests.chaos $(ARGS)

kafka: $(RUN) ## Apache Kafka 4.3 on 127.0.0.1:9092 (PORT=...), from Maven; Ctrl-C ends it
	@$(PY) scripts/foreground $(PY) -m pipeline.embedded.apache --port $(PORT) $(ARGS)

lock: $(DEV) ## write the locks anew from pyproject.toml
	@scripts/lock $(VENV)

clean: ## remove the environment and all that was built; data folders stay
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp a lock: the second `make run` starts at once.
$(RUN): requirements.lock pyproject.toml scripts/install
	@scripts/install $(VENV) requirements.lock
	@touch $@

$(DEV): requirements-dev.lock pyproject.toml scripts/install
	@scripts/install $(VENV) requirements-dev.lock
	@touch $@ $(RUN)
