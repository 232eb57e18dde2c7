# Postern: everything that a person types here. `make help` lists it.
#
# Each target sets up what it needs, says what it downloads or builds, and keeps that
# in a cache outside the checkout, so that the second time needs no network.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

install := tests/tools/install
cache := $(shell $(install) cache)
# Outside the checkout, so that a second clone is warm; set it to have it elsewhere.
export CARGO_TARGET_DIR ?= $(cache)/target
# CI builds what is committed; a person may be about to add a dependency.
locked := $(if $(CI),--locked)

checks := fmt clippy doc deny architecture

say = @printf '==> %s\n' '$(1)' >&2

.PHONY: help
help: ## Lists the targets
	@echo 'Postern, a Kubernetes-native mail gateway'
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22
	@echo
	@echo 'Built files go to $(CARGO_TARGET_DIR), neighbours of the tests to $(cache).'

.PHONY: demo
demo: toolchain ## Builds Postern and shows it at work: genuine, forged and broken mail, with traces
	$(call say,building postern (release))
	cargo build $(locked) --release --package postern --bin postern
	@"$$CARGO_TARGET_DIR/release/postern" demo $(DEMO)

.PHONY: test
test: toolchain neighbours ## Runs all tests, on a real Kubernetes API server and a real Jaeger
	$(call say,building postern)
	cargo build $(locked) --package postern --bin postern
	$(call say,running the tests)
	POSTERN_BINARY="$$CARGO_TARGET_DIR/debug/postern" cargo test $(locked) --workspace --no-fail-fast $(TEST)

.PHONY: check
check: $(addprefix check-,$(checks)) ## Checks format, lints, docs, licences and the architecture

.PHONY: bench
bench: toolchain ## Measures mails per second, latency, CPU and memory as one table, and hostile mail's cost
	$(call say,building the load generator and postern (release))
	cargo build $(locked) --release --package postern --bin postern
	cargo run $(locked) --release --package postern-tests --bin bench -- $(BENCH)
	$(call say,what the checks of one message cost and hostile mail at most)
	cargo bench $(locked) --package postern-verify --features testing --bench message

# Each target runs for FUZZ_SECONDS on what it found before and on the seeds in fuzz/corpus. Nothing
# else uses the nightly toolchain. Without a sanitizer: `unsafe` is forbidden in what is fuzzed, and
# what is sought, panics, broken promises, time and memory, shows without one, at more runs a second.
fuzz_targets = $(basename $(notdir $(wildcard fuzz/targets/*.rs)))
FUZZ ?= $(fuzz_targets)
FUZZ_SECONDS ?= 60

.PHONY: fuzz
fuzz: toolchain nightly ## Fuzzes every parser for FUZZ_SECONDS (60) each, or those in FUZZ
	@$(install) cargo-fuzz
	@export PATH="$$(dirname "$$($(install) path cargo-fuzz)"):$$PATH"; \
	for target in $(FUZZ); do \
	  printf '==> fuzzing %s for %s s\n' "$$target" '$(FUZZ_SECONDS)' >&2; \
	  mkdir -p "$(cache)/fuzz/corpus/$$target"; \
	  cargo +nightly fuzz run --fuzz-dir fuzz --target-dir '$(cache)/fuzz/target' --sanitizer none \
	    "$$target" "$(cache)/fuzz/corpus/$$target" "fuzz/corpus/$$target" -- \
	    -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 -max_len=20000 -print_final_stats=1; \
	done

.PHONY: install
install: toolchain ## Builds Postern and installs the command `postern` by cargo
	cargo install --locked --path cli

.PHONY: crds
crds: toolchain ## Writes the chart's CustomResourceDefinitions anew, from the Rust types
	UPDATE=1 cargo test $(locked) --package postern-crds --test chart

.PHONY: clean-cache
clean-cache: ## Removes what these targets downloaded and built outside the checkout
	rm -rf '$(cache)'

# --- the checks, one by one ---------------------------------------------------

.PHONY: list-checks
list-checks:
	@echo $(checks)

.PHONY: check-fmt
check-fmt: toolchain
	cargo fmt --all --check
	rustfmt --edition 2024 --check fuzz/src/lib.rs fuzz/targets/*.rs

.PHONY: check-clippy
check-clippy: toolchain
	cargo clippy $(locked) --workspace --all-targets -- -D warnings

.PHONY: check-doc
check-doc: toolchain
	RUSTDOCFLAGS='-D warnings' cargo doc $(locked) --workspace --no-deps

.PHONY: check-deny
check-deny: toolchain
	@$(install) cargo-deny
	@# It reads the manifests of all platforms' crates, more than a build downloads.
	cargo fetch $(locked)
	"$$($(install) path cargo-deny)" --offline check bans licenses sources

# The whole workspace is named so that the build is the one that `make test` uses.
.PHONY: check-architecture
check-architecture: toolchain
	cargo test $(locked) --workspace --test architecture

# --- what they stand on -------------------------------------------------------

.PHONY: toolchain
toolchain:
	@$(install) packages
	@command -v cargo >/dev/null || { \
	  echo 'Rust is missing. Install rustup from https://rustup.rs; rust-toolchain.toml then names the version.' >&2; \
	  exit 1; }

.PHONY: nightly
nightly:
	@rustup toolchain list 2>/dev/null | grep -q '^nightly' || { \
	  echo '==> the nightly toolchain is missing, and cargo-fuzz needs it: rustup installs it' >&2; \
	  rustup toolchain install nightly --profile minimal || { \
	    echo 'It cannot be installed. Run: rustup toolchain install nightly --profile minimal' >&2; exit 1; }; }
	@command -v c++ >/dev/null || { \
	  echo 'A C++ compiler is missing; libFuzzer is built with it. Run: apt-get install --yes g++' >&2; exit 1; }

.PHONY: neighbours
neighbours:
	@$(install) all
