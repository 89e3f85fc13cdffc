# What people and CI call. `make demo` and `make test` do all their set-up on a fresh Debian machine with Rust.

.PHONY: build demo test lint bench bench-long fuzz audit openapi deps deps-run deps-test

CLIENTS := target/clients

# The binaries, in the one profile that everything uses: target/release/statecast and target/release/statecast-sim.
build:
	cargo build --release --workspace --bins

# The service, 2,000 simulated devices, rules and a receiver of pushes. DEMO_SECONDS=60 ends it by itself.
demo: deps-run build
	target/release/statecast-sim demo

# Everything that is tested, against the real binary, a real PostgreSQL and clients written by others.
test: deps-test build
	cargo test --release --workspace --no-fail-fast

lint:
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings

# Ratios measured in one run; writes target/bench/results.json.
bench: deps-run build
	target/release/statecast-bench

# The same, and an hour of load with ten kills.
bench-long: deps-run build
	target/release/statecast-bench --long

# The bytes of the front door, FUZZ_SECONDS long. What is found new stays in target/fuzz/found; a fault is written to
# broker/fuzz/artifacts.
FUZZ_SECONDS ?= 60
fuzz:
	command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked
	mkdir -p target/fuzz/found
	cd broker && cargo fuzz run door --sanitizer none --target-dir ../target/fuzz ../target/fuzz/found fuzz/corpus/door -- \
	  -max_total_time=$(FUZZ_SECONDS) -max_len=2048 -timeout=60

# Licences, bans and sources of dependencies; advisories where their database can be reached.
audit:
	command -v cargo-deny >/dev/null || cargo install cargo-deny --locked
	cargo deny check licenses bans sources
	cargo deny check advisories || echo "advisories: not checked, or see above"

# The description of the HTTP interface, from the code; a test says when it is out of date.
openapi: build
	target/release/statecast openapi > openapi.json

deps: deps-run deps-test

# PostgreSQL, without a cluster of its own: the service makes a private one.
deps-run:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || tests/deps.sh postgresql

# Clients written by others, and a browser.
deps-test: deps-run
	@command -v mosquitto_pub >/dev/null || tests/deps.sh mosquitto-clients
	@command -v chromedriver >/dev/null || tests/deps.sh chromium chromium-driver
	@python3 -m pip --version >/dev/null 2>&1 || tests/deps.sh python3 python3-pip
	@command -v npm >/dev/null || tests/deps.sh nodejs npm
	@tests/clients/install.sh $(CLIENTS)
