# Two commands do everything: `make quickstart` and `make test`. `make help` lists the rest.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
MINIK := target/release/minik
IMAGE := out/guest-image/manifest.json
QEMU := out/tools/qemu/bin/qemu-system-x86_64
WEB := out/web.tar
export CARGO_TERM_COLOR ?= auto
export PATH := $(PATH):$(CURDIR)/out/tools/bin

.PHONY: help quickstart setup packages build guest-image test check unit e2e conformance bench fuzz clean
.DEFAULT_GOAL := help

help: ## What each command does
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 16

quickstart: setup ## From nothing to a web app that answers; needs the internet only for `setup`
	@.ci/quickstart

setup: packages build guest-image $(QEMU) $(WEB) ## Everything that needs the internet

packages: ## Debian packages that building needs, and the clients that the tests use
	@.ci/packages
	@.ci/client kubectl kubectl
	@.ci/client docker-cli docker
	@.ci/clients

build: packages ## minik and minik-node
	export MINIK_BUNDLE=$(CURDIR)/out/bundle
	cargo build --release --locked -p minik -p minik-node
	.ci/bundle target/release/minik-node "$$MINIK_BUNDLE"
	cargo build --release --locked -p minik -p minik-node

guest-image: $(IMAGE) ## The guest image, from Debian's signed packages

$(IMAGE): $(shell git ls-files guest-image 2>/dev/null) | build
	guest-image/build out/guest-image
	@touch $(IMAGE)

$(QEMU): | packages ## A QEMU whose emulation is sound, where the system's is not
	drivers/qemu/tools/fetch-qemu out/tools/qemu

$(WEB): | packages
	@mkdir -p out
	cargo run --release --quiet --locked -p minik-e2e --bin web-image -- $(WEB)

test: setup check unit e2e ## The whole test suite, the one that CI runs

check: ## Formatting and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

unit: ## Every test but those that boot machines
	cargo test --workspace --locked --exclude minik-e2e --no-run
	.ci/rootlike cargo test --workspace --locked --exclude minik-e2e
	cargo test --locked -p minik-e2e --lib

e2e: ## The tests on real machines
	cargo test --locked -p minik-e2e --test '*' --no-run
	.ci/rootlike cargo test --locked -p minik-e2e --test '*' -- --test-threads=1

conformance: setup ## Upstream's conformance suite, the areas of the API, on a machine: 10 minutes after the build
	.ci/conformance-suite
	cargo build --locked --release -p minik-e2e --bin conformance
	.ci/rootlike target/release/conformance

bench: setup ## Figures, as ratios of one run
	.ci/bench

SECONDS ?= 30
fuzz: packages ## Every fuzz target for SECONDS=30 each, or those of TARGETS="cel apply"
	@.ci/fuzz $(SECONDS) $(TARGETS)

clean: ## Remove what was built, not what was downloaded
	cargo clean
	rm -rf out/guest-image out/web.tar
