#!/usr/bin/env bash
# Builds what the benchmark runs and runs it. Arguments go to bench.py.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --package fermion
cargo build --release --package fermion-gateway --example native
cargo xtask guests --only p2-hello p3-hello
exec python3 scripts/bench.py "$@"
