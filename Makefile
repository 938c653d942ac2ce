# Everything a newcomer types: demo, test. The environment is made once and remade when the lock file changes.
PYTHON ?= python3
VENV := .venv
PRECEPTOR := $(VENV)/bin/preceptor

.PHONY: demo test peers clean

demo: $(VENV)/.ready
	$(PRECEPTOR) run demo --out runs/demo

# Two at a time, a file's tests together; more threads than cores would only wait for each other.
test: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist loadfile

# PyTorch first: pip prefers a build "+cpu" where one is offered, and nothing after it can pull another one in.
$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet "$$(grep '^torch==' requirements.lock)"
	$(VENV)/bin/pip install --quiet -r requirements.lock
	$(VENV)/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache

# The peers of benchmarks/, apart from our own environment.
peers: .venv-peers/.ready
.venv-peers/.ready: benchmarks/peers.txt requirements.lock
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet "$$(grep '^torch==' requirements.lock)"
	.venv-peers/bin/pip install --quiet -r benchmarks/peers.txt
	touch $@
