# The verbs of the house. Each sets up what it needs first and says what it does.
.PHONY: help build demo test bench crash-test conformance fmt lint generate

help: ## list the verbs
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

build: ## build the programs into target/release
	@scripts/setup.sh build
	@scripts/build.sh

demo: build ## three tenants, 300 devices and a rollout that stops itself, live in this terminal
	@target/release/fleetward demo --data-dir demo-data

test: ## everything that must hold before a change lands
	@scripts/test.sh

conformance: build ## other people's clients against the release build
	@scripts/setup.sh test
	@FLEETWARD_BIN_DIR=target/release conformance/run

crash-test: build ## kill -9 the server 50 times under load and count what was acknowledged and lost
	@scripts/setup.sh test
	@FLEETWARD_BIN_DIR=target/release conformance/kill9.py --rounds 50
	@FLEETWARD_BIN_DIR=target/release conformance/kill9.py --rounds 20 --postgres

bench: build ## print the figures of docs/benchmarks.md
	@scripts/setup.sh bench
	@scripts/bench.sh

fmt: ## format the sources
	@cargo fmt --all

lint: ## formatting, clippy, licences and the rules of the house
	@scripts/test.sh fmt deny clippy tidy generated

generate: ## write the files that are made from others
	@cargo xtask limits
	@cargo xtask openapi
