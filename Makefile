.DEFAULT_GOAL := help
PY := .venv/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement
UV := .venv/bin/uv pip install --quiet --python $(PY) --no-deps --require-hashes --compile-bytecode --requirement
DATA ?= tidewater
CONFIG ?= garrison.toml

.PHONY: help
help:  ## show this list
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

.venv/.installed: requirements.lock
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Garrison needs Python 3.11 or newer, python3 is %d.%d" % sys.version_info[:2])'
	python3 -m venv .venv
	@# uv installs on all cores, in half of pip's time. It reads no pip.conf: where only pip knows the way, pip goes it.
	awk '/^[^ #]/ {is_uv = /^uv==/} is_uv' requirements.lock > .venv/uv.lock
	$(PIP) .venv/uv.lock
	$(UV) requirements.lock || $(PIP) requirements.lock
	touch $@

.PHONY: setup
setup: .venv/.installed  ## make the environment (.venv) from the lock file

.venv/.spark: .venv/.installed requirements-spark.lock
	$(UV) requirements-spark.lock || $(PIP) requirements-spark.lock
	touch $@

.PHONY: setup-spark
setup-spark: .venv/.spark  ## the same with Spark, which wants a Java 17

.PHONY: demo
demo: setup  ## the whole main job on sample data (DATA=completejourney: on real purchases)
	$(PY) -m monitoring demo $(DATA)

.PHONY: test
test: setup-spark lint  ## all tests, and lint
	@# Tests run one process a core: libraries that start a thread a core as well would wait for each other.
	@# They start many processes: each would compile our modules anew where bytecode is not written. Tests wait for
	@# those a quarter of the time, so there are two workers more than cores.
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(PY) -m pytest -n $$(($$(getconf _NPROCESSORS_ONLN) + 2)) $(if $(CI),--durations=30)

.PHONY: test-nightly
test-nightly: setup-spark  ## the property tests alone, on many new examples; prints how to repeat a failure
	OMP_NUM_THREADS=1 $(PY) -m pytest -m hypothesis --hypothesis-profile nightly

.PHONY: lint
lint: setup  ## format, lint, types, layers
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	.venv/bin/lint-imports

.PHONY: format
format: setup  ## bring the code into form
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

.PHONY: settings
settings: setup  ## renew the page of all keys, docs/settings.md, from the code
	$(PY) -m features settings --markdown docs/settings.md

.PHONY: night
night: setup  ## the whole night: check, build, score, drift, gate, alert, deliver, report (CONFIG=garrison.toml)
	$(PY) -m monitoring night --config $(CONFIG)

.PHONY: serve
serve: setup  ## the HTTP endpoint on port 3000 (CONFIG=garrison.toml)
	$(PY) -m serving serve --config $(CONFIG)

.PHONY: console
console: setup  ## the web console, on port 3001 (CONFIG=garrison.toml)
	$(PY) -m monitoring console --config $(CONFIG)

.PHONY: bench-features
bench-features: setup  ## the feature engine on 100,000 accounts, against a plain pass and featuretools
	PYTHONPATH=. $(PY) tests/benchmarks/bench_features.py

.PHONY: bench-quality
bench-quality: setup  ## what the models are worth on every task, beside baselines (GARRISON_DATA=../shared/data)
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/benchmarks/bench_quality.py

.PHONY: bench-shuffles
bench-shuffles: setup  ## labels shuffled among accounts, where training must find no signal (GARRISON_DATA=../shared/data)
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/benchmarks/bench_shuffles.py

.PHONY: bench-serving
bench-serving: setup  ## scores over HTTP beside bare FastAPI, and in batch beside their parts
	PYTHONPATH=. $(PY) tests/benchmarks/bench_serving.py

.PHONY: bench-performance
bench-performance: setup  ## the AUC estimated without labels beside the one that came true (GARRISON_DATA=../shared/data)
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/benchmarks/bench_performance.py

.PHONY: bench-training
bench-training: setup  ## training on 5,000,000 rows of 150 features, beside plain LightGBM
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/benchmarks/bench_training.py

.PHONY: bench-holds
bench-holds: setup  ## healthy nights that the checks of sources hold, and how soon harmed sources are held
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/benchmarks/bench_holds.py

.PHONY: bench-journey
bench-journey: setup  ## topics of tickets and their costs against tidewater's hidden truth, shuffled links, 200,000 tickets
	$(PY) -m features sample tidewater --accounts 3000 --months 24
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/benchmarks/bench_journey.py docs/examples/tidewater.toml

.PHONY: bench-harms
bench-harms: setup  ## the demo's company with one source harmed at a time: scores, episodes, and what the gate says
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/benchmarks/bench_harms.py $(COMPANY)

.PHONY: bench-init
bench-init: setup  ## from the exports of a messy company to a promoted model, beside its oracle
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/benchmarks/bench_init.py

.PHONY: bench-kills
bench-kills: setup  ## nights killed at 50 random instants, then finished: nothing is lost, or sent twice without a doubt
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/benchmarks/bench_kills.py

.PHONY: attack
attack: setup  ## malformed and heavy bodies, slow connections and overload against a service of its own
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/benchmarks/attack.py

.PHONY: faults
faults: setup  ## writes, syncs, renames and sends of commands, from check to promote, fail in turn (POINTS=N of each)
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/benchmarks/faults.py $(if $(POINTS),--points $(POINTS),--each)

.PHONY: bench-delivery
bench-delivery: setup  ## faults at every write, sync and send of a delivery, 200 kills, three deliverers at once
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/benchmarks/bench_delivery.py

.PHONY: bench-alerts
bench-alerts: setup  ## half a year of alerts on tidewater against its hidden truth: value caught, lead, flaps, silence
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/benchmarks/bench_alerts.py $(COMPANY)

.PHONY: bench-replay
bench-replay: setup  ## three months of nights on tidewater, then their replay: the same messages? (ACCOUNTS=400)
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/benchmarks/bench_replay.py $(ACCOUNTS)

.PHONY: bench-experiments
bench-experiments: setup  ## what experiments claim of simulated companies: false claims, coverage, bias, power
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/benchmarks/bench_experiments.py

.PHONY: bench-loop
bench-loop: setup  ## five rounds of alert, save, retrain on tidewater: AUC on accounts never alerted on, by remedy
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/benchmarks/bench_loop.py $(ACCOUNTS)

.PHONY: bench-loop-product
bench-loop-product: setup  ## the same rounds through scoring, alerts, letters and training as companies run them (OWNERS=able)
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/benchmarks/bench_loop_product.py $(or $(ACCOUNTS),1000) $(OWNERS)

.PHONY: bench-owners
bench-owners: setup  ## whether the sheet of owners ranks tidewater's by their skill: Kendall's tau beside raw retention's
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/benchmarks/bench_owners.py $(ACCOUNTS)

.PHONY: bench-console
bench-console: setup  ## every page of the console over 1,000,000 accounts at 8 connections (ACCOUNTS=N for fewer)
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/benchmarks/bench_console.py

.PHONY: bench-service
bench-service: setup  ## the library of problems at 200,000 tickets; costs and first actions on tidewater's truth
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/benchmarks/bench_service.py

.PHONY: bench-drift
bench-drift: setup  ## the verdict on drift of 100,000 rows of 150 columns, beside Evidently's preset
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/benchmarks/bench_drift.py

LOCKED := --universal --generate-hashes --no-annotate --no-header --python-version 3.11 --quiet
.PHONY: lock
lock: setup  ## renew the lock files from pyproject.toml
	.venv/bin/uv pip compile pyproject.toml --extra monitoring --extra otel --extra load --group dev $(LOCKED) \
	  --output-file requirements.lock
	@# Without the tools of development; and what the HTTP service alone needs. Same versions, same hashes.
	.venv/bin/uv pip compile pyproject.toml --extra monitoring --extra otel --extra load --constraint requirements.lock $(LOCKED) \
	  --output-file requirements-run.lock
	.venv/bin/uv pip compile --group service --constraint requirements.lock $(LOCKED) --output-file requirements-service.lock
	.venv/bin/uv pip compile --group bom $(LOCKED) --output-file requirements-bom.lock
	.venv/bin/uv pip compile pyproject.toml --extra spark --constraint requirements.lock $(LOCKED) \
	  --output-file requirements-spark.lock
	$(PY) -c "import re, pathlib; lock = pathlib.Path('requirements-spark.lock'); \
	  found = re.findall(r'^(?:pyspark|py4j)==.*?(?=^\S|\Z)', lock.read_text(), re.M | re.S); lock.write_text(''.join(found))"

.PHONY: sbom
sbom: setup  ## the software bill of materials of all that runs, from the lock file: var/sbom.json (CycloneDX)
	.venv/bin/uv venv --quiet --clear --python $(PY) var/sbom
	.venv/bin/uv pip install --quiet --python var/sbom/bin/python --no-deps --require-hashes --requirement requirements-bom.lock
	var/sbom/bin/cyclonedx-py requirements requirements-run.lock --pyproject pyproject.toml --output-reproducible \
	  --output-file var/sbom.json

.PHONY: clean
clean:  ## remove caches: nothing that a run produced
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: clean-all
clean-all:  ## remove the environment, and all data of runs: state, messages, keys, models; asks first (YES=1: does not)
	@if [ "$(YES)" != 1 ]; then \
	  printf 'Remove .venv, var/ and mlruns/: scores, episodes, undelivered messages, keys and models of every company? [yes/no] '; \
	  read answer; [ "$$answer" = yes ] || { echo; echo "Nothing was removed."; exit 1; }; fi
	rm -rf .venv var
	find mlruns -mindepth 1 ! -name README.md -delete
	@$(MAKE) --no-print-directory clean
