.DEFAULT_GOAL := help
PY := .venv/bin/python
DATA ?= tidewater

.PHONY: help
help:  ## show this list
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.venv/.installed: requirements.lock
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Garrison needs Python 3.11 or newer, python3 is %d.%d" % sys.version_info[:2])'
	python3 -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements.lock
	touch $@

.PHONY: setup
setup: .venv/.installed  ## make the environment (.venv) from the lock file
