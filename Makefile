# The usual targets, thin over ./govcloud and the tools in its environment. `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help setup test nightly lint format types deadcode coverage docs screenshots hooks

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 13

setup: ## Prepare this machine: packages, builds, images (root)
	./govcloud setup

test: ## Run the short tier of the tests (root)
	./govcloud test

nightly: ## Run all tests (root); one part with PART=1 to PART=4
	./govcloud test nightly $(if $(PART),--part $(PART))

lint: ## Run all checks: lint, format, types, imports, dead code, Go, shell, keys
	./govcloud python -m tools.lint

format: ## Format the Python files and repair lint where ruff can
	./govcloud python -m ruff check --fix .
	./govcloud python -m ruff format .

types: ## Check the types
	./govcloud python -m tools.lint types

deadcode: ## Report code that no other code uses
	./govcloud python -m tools.lint dead-code

coverage: ## Run the unit tests with branch coverage; list the folders below 80 %
	./govcloud python -m tools.coverage_report

docs: ## Write the generated documents
	./govcloud python -m estate.address_report
	./govcloud python -m tools.measurements
	./govcloud python -m tools.alert_index

screenshots: ## Draw the READMEs' pictures from STATUS=status.json and DRILL=folder
	./govcloud python -m tools.screenshots "$(STATUS)" "$(DRILL)"

hooks: ## Check every commit before it is made
	git config core.hooksPath tools/git-hooks
