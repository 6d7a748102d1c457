#!/usr/bin/env bash
# Builds what a measuring script runs and runs it:  bench.sh [bench|bench_stream|bench_fair|bench_rollout|bench_telemetry|idle_apps|soak] [ARGUMENTS]
# The JavaScript and Python components are built where their tools can be had, and left out elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."
script=${1:-bench}
shift || true
# In one step, so that all of them have the same features of what they share.
cargo build --release --package fermion --package fermion-gateway --bin fermion --example native --example load
cargo xtask guests --only p2-hello p3-hello p2-edge p3-edge
if [[ $script == bench ]]; then
  for example in example-hello-js example-hello-py; do
    [[ -f target/guests/$example.wasm ]] || cargo xtask guests --only "$example" || echo "bench: measured without $example" >&2
  done
fi
exec python3 "scripts/$script.py" "$@"
