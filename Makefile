# The commands of this repository. On a fresh Debian machine with Rust 1.95, Node 20 and Python 3.11 each one installs
# what it needs.
.PHONY: demo test check bench bench-stream bench-fair bench-idle bench-rollout bench-telemetry bench-registry soak fuzz build fmt clean

# The fast inner loop.
check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo xtask tidy
	cargo test --workspace --lib --bins

# Everything, as CI runs it.
test:
	scripts/setup.sh test
	scripts/test.sh

# The platform with the examples: shows each answering and one hostile guest contained, then stays up.
# ONCE=1 ends after the scenes.
demo:
	scripts/setup.sh build
	cargo build --release --package fermion
	scripts/demo.sh

# Side by side with a native server and whatever peers are installed.
bench:
	scripts/setup.sh bench
	scripts/bench.sh bench $(ARGUMENTS)

# Bodies of a megabyte each way beside a native server, and a thousand readers that hardly read.
bench-stream:
	scripts/setup.sh bench
	scripts/bench.sh bench_stream $(ARGUMENTS)

# A quiet app beside a flooding, looping or hungry one; one app at 1, 2 and 3 times its capacity.
bench-fair:
	scripts/setup.sh bench
	scripts/bench.sh bench_fair $(ARGUMENTS)

# Thousands of apps of which hardly any is used.
bench-idle:
	scripts/setup.sh bench
	scripts/bench.sh idle_apps $(ARGUMENTS)

# How long a bad release has traffic, and whom it hits.
bench-rollout:
	scripts/setup.sh bench
	scripts/bench.sh bench_rollout $(ARGUMENTS)

# What metrics, traces, logs and their export cost a request, with the receiver there and away.
bench-telemetry:
	scripts/setup.sh bench
	scripts/bench.sh bench_telemetry $(ARGUMENTS)

# Half an hour of good and hostile requests to 200 apps while they are deployed: nothing may leak. ARGUMENTS="--minutes 5"
soak:
	scripts/setup.sh bench
	scripts/bench.sh soak $(ARGUMENTS)

# The parsers of what strangers write, under libFuzzer: FUZZ_SECONDS=60 for each, TARGETS="manifest config" for some.
fuzz:
	scripts/fuzz.sh $(TARGETS)

# Our registry beside Debian's docker-registry, with 10,000 packages.
bench-registry:
	scripts/setup.sh bench
	cargo build --release --package fermion
	scripts/bench-registry.sh

build:
	cargo build --release --package fermion

fmt:
	cargo fmt --all

clean:
	cargo clean
	rm -rf guests/target .fermion
