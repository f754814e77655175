PYTHON ?= python3
BIN := venv/bin
FIREBASE ?= emulators/node_modules/.bin/firebase
SUITE := $(BIN)/python -m local.suite
PYTEST := $(BIN)/pytest

.PHONY: help setup demo dev lint unit suite test torture attack soak mutants bench audit deploy ops rehearse sabotage docs reference screenshots protocol wheel lock clean

help: ## Show this help
	@sed -nE 's/^([a-z]+):.*## /  \1\t/p; s/^#: (.*)/\n\1/p' $(MAKEFILE_LIST) | expand -t 15

#: Start

setup: venv/.installed emulators/node_modules/.installed ## Install everything that the targets below need, in this folder

venv/.installed: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "$(PYTHON) is not Python 3.11 to 3.13; try: make setup PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv --clear venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-dev.txt
	@touch $@

# Not beside main.py: the Firebase CLI takes a folder with a package.json for Node.js functions.
# re2 is optional and for hosting only; where its binary cannot be downloaded, it compiles for minutes.
emulators/node_modules/.installed: emulators/package.json emulators/package-lock.json
	npm ci --prefix emulators --omit=optional --no-audit --no-fund --loglevel=error
	@touch $@

local/pages/node_modules/.installed: local/pages/package.json local/pages/package-lock.json
	npm ci --prefix local/pages --no-audit --no-fund --loglevel=error
	@touch $@

demo: setup ## Write a document of each kind, and show the pushes that arrive
	@$(SUITE) -- $(BIN)/python -m local.demo

dev: setup ## Keep everything running, with the settings of .env and the phones at http://127.0.0.1:4010
	@$(SUITE) --env-file .env

#: Deploy

deploy: setup ## Check the folder and the project, then deploy; PROJECT= an id or an alias
	$(BIN)/python -m batchpush check $(if $(PROJECT),--project $(PROJECT))
	$(BIN)/python -m batchpush deploy --firebase $(FIREBASE) $(if $(PROJECT),--project $(PROJECT)) \
		$(if $(filter yes,$(DELETE)),--delete)

ops: setup ## Create the metrics, alerts and dashboard of ops/; PROJECT= an id, CHANNEL= whom to notify
	$(BIN)/python -m local.ops --project $(or $(PROJECT),$(error say PROJECT=, the id of a project)) \
		$(addprefix --channel ,$(CHANNEL))

#: Test

test: lint ## Run lint, unit and suite; list the lines and branches that no test ran
	$(BIN)/coverage erase
	$(MAKE) --no-print-directory unit suite PYTEST="$(PYTEST) --cov --cov-append --cov-report="
	-$(BIN)/coverage report

lint: setup local/pages/node_modules/.installed ## Check code, format, imports, types, and the words of pages and messages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python -m local.pages

unit: setup ## Run the tests that need no emulator
	$(PYTEST) -m "not suite" -n auto

suite: setup ## Run the tests of the whole path, on the emulators
	$(SUITE) -- $(PYTEST) -m suite

torture: setup ## Try outages, storms, killed processes and garbage, in half an hour; WRITE=1 writes docs/reliability.md
	$(SUITE) -- $(BIN)/python -m tests.torture $(if $(WRITE),--write)

attack: setup ## Try 20,000 hostile writes against each rules file; SEED= and EPISODE= repeat, WRITES= changes the number; WRITE=1
	$(SUITE) -- $(BIN)/python -m tests.attack $(addprefix --seed ,$(SEED)) \
		$(addprefix --writes ,$(WRITES)) $(addprefix --episode ,$(EPISODE)) $(addprefix --rules ,$(RULES)) \
		$(if $(WRITE),--write)

soak: setup ## Send 20 events a second through one process for two hours, and see whether it grows; HOURS=, WRITE=1
	$(SUITE) -- $(BIN)/python -m tests.soak $(addprefix --hours ,$(HOURS)) $(if $(WRITE),--write)

mutants: setup ## Change one thing in the code, 5,000 times; fail if no test notices
	rm -rf mutants
	$(BIN)/python .ci/mutants.py

benchmarks/peers/node_modules/.installed: benchmarks/peers/package.json benchmarks/peers/package-lock.json
	npm ci --prefix benchmarks/peers --no-audit --no-fund --loglevel=error
	@touch $@

bench: setup benchmarks/peers/node_modules/.installed ## Compare our functions with their peers, and measure large audiences; WRITE=1 writes docs/performance.md
	$(SUITE) -- $(BIN)/python -m benchmarks $(if $(WRITE),--write) $(if $(BESIDE),--beside $(BESIDE))
	$(if $(BESIDE),,$(SUITE) -- $(BIN)/python -m benchmarks.audience $(if $(WRITE),--write))

rehearse: setup ## Deploy to a Google Cloud on this machine, and compare what got there, in five minutes
	$(BIN)/python -m local.rehearsal

sabotage: setup ## Break that deployment in six ways; fail if the rehearsal does not notice, in eight minutes
	$(BIN)/python -m local.rehearsal.sabotage

audit: setup ## Look for known vulnerabilities in the installed packages; fail if it cannot look, unless AUDIT=optional
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python .ci/audit.py

#: Maintain

venv-docs/.installed: requirements-docs.txt
	$(PYTHON) -m venv --clear venv-docs
	venv-docs/bin/pip install --quiet --disable-pip-version-check -r requirements-docs.txt
	@touch $@

docs: venv-docs/.installed local/pages/node_modules/.installed ## Build the pages as a site with search, in site/
	NO_MKDOCS_2_WARNING=1 venv-docs/bin/mkdocs build --quiet --strict

reference: setup ## Write the tables of settings and log events into docs/, from the code
	$(BIN)/python -m local.reference

screenshots: setup ## Take the picture in the README again, with Chromium
	$(SUITE) -- $(BIN)/python -m local.screenshots

protocol: setup ## Compile firestore.proto, after a change to it
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. \
		batchpush/google/protocol/firestore.proto

wheel: setup ## Build the package, into dist/
	$(BIN)/python -m local.wheel

lock: setup ## Pin the newest versions of what requirements*.in name
	for each in requirements requirements-dev requirements-docs; do \
		$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header \
			--no-emit-index-url --no-emit-find-links --no-strip-extras --generate-hashes $$each.in -o $$each.txt || exit; \
	done

clean: ## Remove everything that these targets installed and built
	rm -rf venv venv-docs emulators/node_modules benchmarks/peers/node_modules local/pages/node_modules \
		mutants site dist .coverage*
