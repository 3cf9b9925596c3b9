# The two commands of the README: `make start` and `make test`. Both need Python 3.10+ and make, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A token of another service, which the shell may have, does not work on the embedded stack.
BAZAR := env -u BAZAR_TOKEN $(BIN)/bazar
OLD_PYTHON = $(shell $(PYTHON) -c 'import sys; sys.version_info < (3, 10) and sys.stdout.write( \
  "bazar needs Python 3.10 or newer, and $(PYTHON) is Python " + sys.version.split()[0])')
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: start dev test test-long test-image test-packages test-live lint format reset-db bench generate dist clean

# Without its stamp an environment is one that a cut-off run left, perhaps without a pip that works.
# A newer pip than the one a venv brings writes console scripts that start without importing `re`.
$(VENV)/.runtime: pyproject.toml constraints.txt
	$(if $(OLD_PYTHON),$(error $(OLD_PYTHON)))
	$(PYTHON) -m venv $$(test -f $@ || echo --clear) $(VENV)
	@rm -f $@
	$(PIP_INSTALL) --upgrade pip
	$(PIP_INSTALL) --editable '.[local]'
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(PIP_INSTALL) --editable '.[local,server,dev]'
	@touch $@

start: $(VENV)/.runtime  ## run the main job on the embedded stack
	$(BAZAR) local start
	$(BAZAR) users create ada@example.com --name "Ada Lovelace" --generate-password --if-not-exists --profile local
	$(BAZAR) users list --profile local

dev: $(VENV)/.dev  ## install what tests and lint need

test: $(VENV)/.dev  ## run the tests, in parallel
	$(BIN)/python -m pytest -n $${BAZAR_TEST_WORKERS:-auto} --dist loadgroup

test-long: $(VENV)/.dev  ## run the soak tests too
	$(BIN)/python -m pytest -n $${BAZAR_TEST_WORKERS:-auto} --dist loadgroup -m long

test-image: $(VENV)/.dev  ## run the tests in a clean Debian; they need root, and debootstrap once
	$(BIN)/python -m pytest -n $${BAZAR_TEST_WORKERS:-auto} --dist loadgroup -m debian

test-packages: $(VENV)/.dev  ## build and install the package, follow its pages; they need a package index
	$(BIN)/python -m pytest -n $${BAZAR_TEST_WORKERS:-auto} --dist loadgroup -m packages

test-live: $(VENV)/.dev  ## run the end-to-end tests on other targets (docs/testing.md)
	$(BIN)/python -m tests.support.other_target

lint: $(VENV)/.dev  ## check style, types, layers, dependencies and dead code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/vulture bazar_cli migrations
	$(BIN)/vulture bazar_cli migrations tests benchmarks
	$(BIN)/zizmor --offline --quiet .github

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A start refuses tables of another branch, which is one of the things that the reset mends.
reset-db: $(VENV)/.runtime  ## recreate the tables of the embedded stack, and delete its identities except yours
	-$(BAZAR) local start
	$(BAZAR) db reset --identities --confirm bazar --profile local

bench: $(VENV)/.dev  ## measure start-up against its floors; writes benchmarks/results
	$(BIN)/python -m benchmarks.startup

generate: $(VENV)/.dev  ## write help, completions, reference and man pages
	$(BIN)/python -m tests.contracts.generate

DIST ?= dist

dist: $(VENV)/.dev  ## build the sdist and, from it, the wheel; check both
	rm -rf "$(DIST)"
	$(BIN)/python -m build --no-isolation --outdir "$(DIST)" .
	@test ! -e .git || tar -tzf "$(DIST)"/*.tar.gz | sed 's,^[^/]*/,,' | grep -vx PKG-INFO | tr '\n' '\0' \
	  | xargs -0 git --literal-pathspecs ls-files --error-unmatch >/dev/null \
	  || { rm -rf "$(DIST)"; echo "The sdist had files that Git does not track: add or remove them." >&2; exit 1; }
	$(BIN)/twine check --strict "$(DIST)"/*
	$(BIN)/check-wheel-contents "$(DIST)"/*.whl

clean:
	rm -rf $(VENV) build dist
