# Abbild: everything there is to do, by name. `make help` lists it.
# Each target installs what it needs first (see scripts/setup) and says so.

export PATH := $(PATH):$(HOME)/.cargo/bin
SHELL := /bin/bash
CARGO_TARGET_DIR ?= target
export CARGO_TARGET_DIR

# Options for `abbild serve`, for example: make run ARGS='--listen 127.0.0.1:9000'
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run rescue test test-e2e test-crash test-garage test-agreement test-clients bench fuzz fixtures fixtures-all fmt lint build clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build the release binary
	@scripts/setup run
	cargo build --release --locked -p abbild

# `exec`, so that Ctrl-C and signals reach the service itself.
run: build ## Build and start the service on this machine
	@rescue/build --missing || echo 'rescue: the service starts without the rescue system; `make rescue` tries again'
	@exec $(CARGO_TARGET_DIR)/release/abbild serve $(ARGS)

# DIR is where it goes, by default where the service looks for it.
DIR ?=
rescue: ## Build the system that rescues machines whose own does not start
	@scripts/setup run
	@rescue/build $(DIR)

# Always the whole workspace, even where one crate would do: a selection of crates selects other
# features of the dependencies, and cargo would compile half of them once more.
test: ## Everything that must pass: checks, unit tests, one real guest booted
	@scripts/setup test
	$(MAKE) --no-print-directory --jobs=2 lint fixtures  # each of which leaves a processor idle at times
	ABBILD_REQUIRE_FIXTURES=1 cargo nextest run --locked --workspace
	scripts/with-postgres cargo nextest run --locked --workspace -E 'binary_id(abbild-service::it)'
	cargo nextest run --locked --manifest-path fuzz/Cargo.toml
	ABBILD_BIN=$(CARGO_TARGET_DIR)/debug/abbild tests/e2e/run smoke
	ABBILD_BIN=$(CARGO_TARGET_DIR)/debug/abbild tests/crash/run 5
	ABBILD_BIN=$(CARGO_TARGET_DIR)/debug/abbild scripts/with-postgres tests/crash/run 5

# Options: names of tests/e2e/test_NAME.py, all if empty.
E2E ?=
test-e2e: ## The whole way, on real guests: upload, verdicts, boots, crashes
	@scripts/setup test
	$(MAKE) --no-print-directory fixtures-all
	@rescue/build --missing
	ABBILD_REQUIRE_FIXTURES=all cargo nextest run --locked -p abbild-guest family
	cargo build --release --locked -p abbild
	ABBILD_BIN=$(CARGO_TARGET_DIR)/release/abbild tests/e2e/run $(or $(E2E),full)

# How often the service is killed, on either database.
KILLS ?= 300
test-crash: ## Kill the service hundreds of times and prove that nothing is lost
	@scripts/setup test
	cargo build --release --locked -p abbild
	cargo build --locked --workspace --example s3
	ABBILD_BIN=$(CARGO_TARGET_DIR)/release/abbild tests/crash/run $(KILLS)
	ABBILD_BIN=$(CARGO_TARGET_DIR)/release/abbild scripts/with-postgres tests/crash/run $(KILLS)

test-garage: ## The same with two processes on PostgreSQL and Garage
	@scripts/setup garage
	cargo build --release --locked -p abbild
	ABBILD_BIN=$(CARGO_TARGET_DIR)/release/abbild ABBILD_GARAGE=garage \
		scripts/with-postgres tests/crash/run $(KILLS) two_processes killed

# Options: readers or guests, both if empty; IMAGES limits it to some.
AGREEMENT ?=
test-agreement: ## Whether other readers, and the guests when booted, see what we see
	@scripts/setup agreement
	$(MAKE) --no-print-directory fixtures-all
	cargo build --release --locked -p abbild
	ABBILD_BIN=$(CARGO_TARGET_DIR)/release/abbild tests/agreement/run $(AGREEMENT)

# Options: names of tests/clients/test_NAME.py, all if empty.
CLIENTS ?=
test-clients: ## Whether clients that others wrote work unchanged
	@scripts/setup clients
	$(MAKE) --no-print-directory fixtures
	cargo build --locked --workspace
	ABBILD_BIN=$(CARGO_TARGET_DIR)/debug/abbild tests/clients/run $(CLIENTS)

# Options: the groups, all if empty; see bench/run.
BENCH ?=
bench: ## Measure against the peers and print a table
	@scripts/setup bench
	$(MAKE) --no-print-directory fixtures
	cargo build --release --locked -p abbild
	cargo build --release --locked -p abbild-convert --example decode
	ABBILD_BIN=$(CARGO_TARGET_DIR)/release/abbild bench/run $(BENCH)

# Options: the targets, all if empty, and how long each runs.
TARGETS ?=
SECONDS ?= 600
fuzz: ## Feed the parsers damaged input, ten minutes each
	@scripts/setup fuzz
	fuzz/run $(SECONDS) $(TARGETS)

fixtures: ## Build the guest images of the tests (cached outside the tree)
	@scripts/setup test
	@fixtures/guest/build

fixtures-all: ## Build the slow ones, too: LVM, UEFI and other layouts
	@scripts/setup test
	@fixtures/guest/build --all

fmt: ## Format the Rust code
	cargo fmt --all

lint: ## Formatting, clippy, licences and advisories, shell scripts
	@scripts/setup test
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo check --locked --quiet --target wasm32-unknown-unknown -p abbild-disk -p abbild-guest -p abbild-api
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --locked --manifest-path fuzz/Cargo.toml --all-targets -- -D warnings
	@scripts/check-dependencies
	@scripts/lint-shell

clean: ## Remove what cargo built (the cached guest images stay)
	cargo clean
