# `make demo` and `make test` are all a newcomer needs: each installs what it needs into .venv first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test test-slow test-long test-jax coverage lint format types wheel study hybrid-study hybrid-results hybrid-tuned tumour-study panel-study panel-results patch-study patch-results bench bench-predictive bench-gpu bench-tuning bench-cells bench-patches evidence pictures notebooks docs release clean

install: .venv/installed

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("permgrad needs Python 3.11 or newer; try make PYTHON=python3.12")'
	@echo "installing into .venv; TensorFlow is a large download, this takes a minute or more"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

demo: install
	$(BIN)/permgrad rank breast_cancer --out results/demo --overwrite

# What is fast, in four minutes on two cores. Files stay together: what they share is made once.
test: install
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow"

# Long trainings, processes that are killed, notebooks. Those of one long fixture stay together (`xdist_group`).
test-slow: install
	$(BIN)/python -m pytest -n auto --dist loadgroup -m "slow and not long"

# Before a release: statistics of many trainings, processes that die over and over.
test-long: install
	$(BIN)/python -m pytest -n auto --dist loadgroup -m long

# What differs by backend, on Keras's other one; tests share what is compiled.
test-jax: install
	KERAS_BACKEND=jax JAX_COMPILATION_CACHE_DIR=$(CURDIR)/.pytest_cache/jax JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 \
		$(BIN)/python -m pytest -n auto --dist loadfile -m "backend and not slow"

# Lines of permgrad/ that the fast tests run.
coverage: install
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow" --cov=permgrad --cov-report=term:skip-covered

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: install
	$(BIN)/mypy

wheel: install
	rm -rf dist
	$(BIN)/python -m build --wheel --outdir dist

# Ten minutes; stopped and started again, it goes on.
study: install
	$(BIN)/python -m studies.breast_cancer --report studies/results/breast_cancer

# Days on two cores, for all five data sets; DATASET=heloc does one. The packages are what networks are compared with.
hybrid-study: install
	$(BIN)/python -m pip install --quiet --editable ".[studies]"
	$(BIN)/python -m studies.hybrid_tables $(DATASET:%=--dataset %) --report studies/results/hybrid_tables

# What studies/results/hybrid_tables/ rests on: fewer trials and seeds, half a day on two cores; goes on where it was stopped.
HYBRID := $(BIN)/python -m studies.hybrid_tables --report studies/results/hybrid_tables
FEW := --trials 3 --set "baselines=[random forest, extra trees, bagging, XGBoost, LightGBM, CatBoost, RealMLP]"
ONE_SEED := --trials 1 --set seeds=1 --set tuning.epochs.classification=30
hybrid-results: install
	$(BIN)/python -m pip install --quiet --editable ".[studies]"
	$(HYBRID) --dataset heloc --dataset gas_drift $(FEW)
	$(HYBRID) --dataset puma8nh --dataset dengue $(FEW) --set networks.beyond.trials=2
	$(HYBRID) --dataset puma8nh --dataset heloc --dataset gas_drift --part baselines --set "baselines=[TabM]" --set seeds=1
	$(HYBRID) --dataset covertype --part networks --part permgrad --part imbalance $(ONE_SEED)
	$(HYBRID) --dataset covertype --part baselines $(ONE_SEED) \
		--set "baselines=[random forest, extra trees, bagging, XGBoost, LightGBM, CatBoost]"

# HELOC, Dengue and Gas with 30 trials of each network: six hours of one core; goes on where it was stopped.
hybrid-tuned: install
	$(BIN)/python -m pip install --quiet --editable ".[studies]"
	$(BIN)/python -m studies.hybrid_tables --dataset heloc --dataset dengue --dataset gas_drift --trials 30 \
		--set "baselines=[random forest, extra trees, bagging, XGBoost, LightGBM, CatBoost]" \
		--out results/hybrid_tables_tuned --report studies/results/hybrid_tables_tuned

# Tumour type on a generated table of the published shape: over an hour on two cores; goes on where it was stopped.
tumour-study: install
	$(BIN)/python -m studies.rna_tumour --source generated --report studies/results/rna_tumour

# Hours on two cores, for all data sets; DATASET=worm does one. The .h5ad files are looked for in PERMGRAD_DATA.
PANELS := $(BIN)/python -m studies.selector_mlp --report studies/results/selector_mlp
panel-study: install
	$(BIN)/python -m pip install --quiet --editable ".[cells]"
	$(PANELS) $(DATASET:%=--dataset %)

# What studies/results/selector_mlp/ rests on: all trainings on the worm's and the mouse's cells, fewer on the planted ones.
panel-results: install
	$(BIN)/python -m pip install --quiet --editable ".[cells]"
	$(PANELS) --dataset worm
	$(PANELS) --dataset planted --set trainings.n=3 --set panels.trainings=10
	$(PANELS) --dataset mouse

# Pretrained networks on the whole competition, which takes an accelerator: DATA=the directory of Kaggle's files.
PATCHES := $(BIN)/python -m studies.histopathology
patch-study: install
	$(BIN)/python -m pip install --quiet --editable ".[hub]"
	$(PATCHES) $(DATA:%=--data %)

# What studies/results/histopathology/ rests on: half an hour on two cores, from random weights, on the 992 patches of
# the directory histopathology, which is looked for in PERMGRAD_DATA; goes on where it was stopped.
patch-results: install
	$(BIN)/python -m pip install --quiet --editable ".[hub]"
	$(PATCHES) --from-scratch --report studies/results/histopathology
	$(PATCHES).validation --from-scratch --report studies/results/histopathology/validation

# About 15 minutes; `make bench ROWS="puma captum_mlp"` runs some rows, ROWS=genes_every every gene (ten minutes). PyTorch, captum and shap are for this alone.
bench: install
	$(BIN)/python -m pip install --quiet --editable ".[bench]"
	$(BIN)/python -m benchmarks $(ROWS)

# How well the hybrid predicts beside eight other models. Long, most of it the networks; goes on where it was stopped.
# SUITE=planted does one group of tables.
bench-predictive: install
	$(BIN)/python -m pip install --quiet --editable ".[studies]"
	$(BIN)/python -m benchmarks.predictive --suite $(or $(SUITE),development planted other) --out results/predictive

# Where there is an accelerator; --small for a CPU.
bench-gpu: install
	$(BIN)/python -m benchmarks.gpu

# The tables of docs/evidence.md: some hours on two cores; what is there already is not measured again.
evidence: install
	$(BIN)/python -m benchmarks.referee compare --out results/evidence
	$(BIN)/python -m benchmarks.probes
	$(BIN)/python -m benchmarks.planted --features 16 64 --only-folds 2 --out results/evidence/planted.csv
	$(BIN)/python -m benchmarks.referee choices --problems heloc dengue puma8nh additive "correlated nulls" ring+xor+sum --out results/evidence
	$(BIN)/python -m studies.breast_cancer.choices --out results/evidence/breast_cancer_choices

# An epoch on a million cells that stay on disk; panels of 38,000 genes; then panels beside LassoNet's, which take hours
# (--coarse: minutes).
bench-cells: install
	$(BIN)/python -m pip install --quiet --editable ".[bench,cells]"
	$(BIN)/python -m benchmarks.out_of_core
	$(BIN)/python -m benchmarks.out_of_core --panel
	$(BIN)/python -m benchmarks.panel_peer

# Images a second that are decoded, trained and predicted; DATA=a directory of patches, by default drawn ones.
bench-patches: install
	$(BIN)/python -m benchmarks.patches $(DATA:%=--data %)

bench-tuning: install
	$(BIN)/python -m benchmarks.tuning

# The site, in results/site: every warning is an error, a link that leads nowhere is a warning. No network is needed.
docs: install
	$(BIN)/sphinx-build -W --keep-going -q -c docs . results/site
	@echo "open results/site/index.html"

# Needs chromium for the dashboard's picture.
pictures: demo
	cp results/demo/ranking.png docs/images/demo_ranking.png
	cp results/demo/sample.png docs/images
	$(BIN)/python docs/screenshot.py page results/demo docs/images/page.png
	$(BIN)/python -c 'import permgrad as pg; pg.load_dataset("breast_cancer").X.to_csv("results/rows.csv", index=False)'
	$(BIN)/permgrad explain results/demo results/rows.csv --row 2 --out docs/images/explanation.png
	$(BIN)/permgrad tune breast_cancer --space mlp --n-trials 20 --out results/tuned
	$(BIN)/python docs/screenshot.py dashboard results/tuned docs/images/dashboard.png

# Runs every notebook and keeps its outputs; each takes less than a minute.
notebooks: install
	$(BIN)/python docs/execute_notebooks.py

# Both archives, checked and tried in a clean environment, and the tag; CONTRIBUTING.md says what comes before and after.
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' permgrad/__init__.py)
release: install
	@test -z "$$(git status --porcelain)" || { echo "commit first: the tag is of what is committed"; exit 1; }
	@! git rev-parse --quiet --verify "refs/tags/v$(VERSION)" > /dev/null || { echo "v$(VERSION) is there; set another version"; exit 1; }
	rm -rf dist results/release
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m twine check --strict dist/*
	$(PYTHON) -m venv results/release
	results/release/bin/python -m pip install --quiet dist/*.whl
	cd results && release/bin/permgrad rank iris --preset fast --out release/iris
	git tag --annotate "v$(VERSION)" --message "permgrad $(VERSION)"

clean:
	rm -rf .venv dist results
