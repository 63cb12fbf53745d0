# Zhongshu (中枢). `make` lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help deps web build demo test lint arrows unit e2e bench-deps bench soak screenshots bless clean

CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR
XTASK = cargo run --quiet --locked -p xtask --

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

deps: ## installs what Debian and npm must give (asks for nothing, says what it does)
	@scripts/deps.sh

web: deps ## builds the pages into web/dist
	@scripts/web.sh

build: web ## builds hub and simulator
	cargo build --locked -p zhongshu -p citysim

demo: build ## starts hub and simulated city, prints address and accounts; Ctrl-C ends both
	@scripts/demo.sh

test: deps ## all that CI runs, with the time of each stage
	@scripts/test.sh

lint: ## format, clippy with warnings denied, the arrow check
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
	$(XTASK) arrows

arrows: ## the arrow check alone
	$(XTASK) arrows

unit: ## Rust tests on SQLite and on a private PostgreSQL
	$(XTASK) with-postgres cargo test --workspace --all-features --locked

e2e: build ## the browser tests, on both databases
	$(XTASK) with-postgres node --test --test-concurrency=1 web/e2e/*.test.mjs

bench-deps: deps ## the peers of the benches, from Debian; starts none of them
	@scripts/bench-deps.sh

bench: bench-deps ## all benches, or one: make bench NAME=publish-to-task
	cargo build --release --locked -p zhongshu -p citysim -p zhongshu-bench
	$(XTASK) with-postgres $(CARGO_TARGET_DIR)/release/bench $(NAME)

soak: bench-deps ## the benches for an hour, by hand: make soak NAME=memory
	cargo build --release --locked -p zhongshu -p citysim -p zhongshu-bench
	$(XTASK) with-postgres $(CARGO_TARGET_DIR)/release/bench --soak $(NAME)

screenshots: build ## every page, desktop and phone, both languages, into screenshots/
	node web/e2e/screenshots.mjs screenshots

bless: ## takes the present output as the expected one in every snapshot
	INSTA_UPDATE=always $(XTASK) with-postgres cargo test --workspace --all-features --locked

clean: ## removes what was built and the demo's data
	cargo clean
	rm -rf web/dist web/node_modules demo-data
