#!/usr/bin/env bash
# Our registry and Debian's docker-registry, one after the other on the same machine, the same requests: pushes and pulls
# of packages of 100 KiB with few and with many of them there, start-up, memory. Arguments go to bench_registry.py:
#   --packages N (10000)   --clients N (4)   --binary FILE (target/release/fermion)
set -euo pipefail
cd "$(dirname "$0")/.."
exec python3 scripts/bench_registry.py "$@"
