# `make` lists the targets. Everything is built with one cargo profile, release,
# so that wasmtime is built once for demo, tests and measurements alike.

# Where cargo builds; guests always end up in target/guests.
export CARGO_TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
WPOOL := $(CARGO_TARGET_DIR)/release/wpool
PREFIX ?= $(HOME)/.local

.DEFAULT_GOAL := help
.PHONY: help demo test check ci bench bench-all guests build docs man completions install clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: ## build everything and show it on real input
	@scripts/demo.sh

test: ## formatting, lints, documentation, guests, all tests
	@scripts/test.sh

check: ## formatting and lints only
	@scripts/test.sh --check

ci: ## what the continuous integration runs
	@.ci/run

bench: ## measure against Python's Pool: a table of ratios (BENCH=--quick is faster)
	cargo build --release --locked --bin wpool --example bench-driver
	python3 benches/run.py $(BENCH)

bench-all: ## measure everything in BENCHMARKS.md and fill it in (BENCH=--quick is faster)
	cargo build --release --locked --bin wpool --example bench-driver
	@scripts/setup-guests.sh >/dev/null && scripts/setup-languages.sh && scripts/build-guests.sh
	benches/peers/install.sh target/bench/peers
	python3 benches/all.py $(BENCH)
	target/bench/peers/py/bin/python benches/report.py

guests: ## compile the example task functions to target/guests
	@scripts/setup-guests.sh >/dev/null && scripts/setup-languages.sh && scripts/build-guests.sh

build: ## the wpool binary
	cargo build --release --locked

docs: ## the library's reference
	RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps

man: build ## man pages in target/man
	@mkdir -p target/man
	$(WPOOL) generate man --dir target/man

completions: build ## shell completions in target/completions
	@mkdir -p target/completions
	@for shell in bash zsh fish; do \
		$(WPOOL) generate completions $$shell >target/completions/wpool.$$shell || exit; done

install: build man completions ## copy to PREFIX (default ~/.local)
	install -D -m 755 $(WPOOL) "$(PREFIX)/bin/wpool"
	install -d "$(PREFIX)/share/man/man1"
	install -m 644 target/man/*.1 "$(PREFIX)/share/man/man1"
	install -D -m 644 target/completions/wpool.bash "$(PREFIX)/share/bash-completion/completions/wpool"
	install -D -m 644 target/completions/wpool.zsh "$(PREFIX)/share/zsh/site-functions/_wpool"
	install -D -m 644 target/completions/wpool.fish "$(PREFIX)/share/fish/vendor_completions.d/wpool.fish"

clean: ## remove what was built, but not the guests' toolchain
	rm -rf target
	cargo clean
