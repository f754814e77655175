PYTHON ?= python3
BIN := venv/bin
FIREBASE ?= emulators/node_modules/.bin/firebase
SUITE := $(BIN)/python -m local.suite

.PHONY: help setup demo dev check unit suite test torture mutants bench audit deploy rehearse sabotage screenshots protocol lock clean

help: ## Say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

setup: venv/.installed emulators/node_modules/.installed ## Install what everything below needs

venv/.installed: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "$(PYTHON) is not Python 3.11 to 3.13; try: make setup PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv --clear venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-dev.txt
	@touch $@

# Not beside main.py: the Firebase CLI takes a folder with a package.json for Node.js functions.
emulators/node_modules/.installed: emulators/package.json emulators/package-lock.json
	npm ci --prefix emulators --no-audit --no-fund --loglevel=error
	@touch $@

demo: setup ## Write a message and a friend request, and see the pushes arrive
	@$(SUITE) -- $(BIN)/python -m local.demo

dev: setup ## Keep everything running, with the settings of .env
	@$(SUITE) $(if $(wildcard .env),--env-file .env)

check: setup ## Lint, format, imports, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

unit: setup ## The tests that need no emulator
	$(BIN)/pytest -m "not suite"

suite: setup ## The tests of the whole path, on the emulators
	$(SUITE) -- $(BIN)/pytest -m suite

test: check unit suite ## Everything: checks, unit tests, the whole path on the emulators

torture: setup ## Hours in minutes: outages, storms, kills, garbage; ends with a table of figures
	$(SUITE) -- $(BIN)/python -m tests.torture $(if $(WRITE),--write)

mutants: setup ## Change one thing in the code, a thousand times; fail where no test notices
	rm -rf mutants
	$(BIN)/python .ci/mutants.py

benchmarks/peers/node_modules/.installed: benchmarks/peers/package.json benchmarks/peers/package-lock.json
	npm ci --prefix benchmarks/peers --no-audit --no-fund --loglevel=error
	@touch $@

bench: setup benchmarks/peers/node_modules/.installed ## Ours beside its peers, and large audiences
	$(SUITE) -- $(BIN)/python -m benchmarks $(if $(WRITE),--write) $(if $(BESIDE),--beside $(BESIDE))
	$(if $(BESIDE),,$(SUITE) -- $(BIN)/python -m benchmarks.audience $(if $(WRITE),--write))

deploy: setup ## Look for what is missing, then deploy; PROJECT= an id or an alias
	$(BIN)/python -m batchpush check $(if $(PROJECT),--project $(PROJECT))
	$(BIN)/python -m local.deploy --firebase $(FIREBASE) $(if $(PROJECT),--project $(PROJECT)) \
		$(if $(filter yes,$(DELETE)),--delete)

rehearse: setup ## Deploy to a Google Cloud on this machine, and see that everything gets there
	$(BIN)/python -m local.rehearsal

sabotage: setup ## Break a deployment in six ways; fail where no rehearsal notices
	$(BIN)/python -m local.rehearsal.sabotage

audit: setup ## Look for known vulnerabilities; fails if it cannot look, unless AUDIT=optional
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python .ci/audit.py

screenshots: setup ## Make the README's picture anew, with Chromium
	$(SUITE) -- $(BIN)/python -m local.screenshots

protocol: setup ## Compile Firestore's messages anew, once firestore.proto is changed
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. \
		batchpush/google/protocol/firestore.proto

lock: setup ## Pin the newest versions of what requirements.in and requirements-dev.in name
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header \
		--no-emit-index-url --no-emit-find-links --generate-hashes requirements.in -o requirements.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header \
		--no-emit-index-url --no-emit-find-links --generate-hashes requirements-dev.in -o requirements-dev.txt

clean: ## Remove what setup made
	rm -rf venv emulators/node_modules benchmarks/peers/node_modules mutants
