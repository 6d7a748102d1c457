#!/usr/bin/env bash
# Every check there is, cheapest first. Called by `make test` after the tools are there.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo fmt --all --check
cargo xtask tidy
cargo xtask guests --examples --js --python
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Most of them wait: for a rollout's next step, for a drain, for a server that is slow on purpose.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-4}
cargo test --workspace --lib --bins --tests --no-fail-fast 2>&1 | tee "$log"
cargo clippy --workspace --all-targets -- -D warnings
awk '/^test result:/ { passed += $4; failed += $6 } END { printf "%d passed, %d failed\n", passed, failed }' "$log"
