#!/usr/bin/env bash
# Every check there is, cheapest first. Called by `make test` after the tools are there.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo fmt --all --check
cargo xtask tidy
cargo xtask guests --examples --js --python
cargo test --workspace --no-fail-fast
cargo clippy --workspace --all-targets -- -D warnings
