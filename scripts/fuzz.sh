#!/usr/bin/env bash
# Fuzzes with libFuzzer, guided by coverage:  fuzz.sh [TARGET...]
# Stable Rust and a C++ compiler are enough; `cargo +nightly fuzz run TARGET fuzz/corpus/TARGET fuzz/made/TARGET` does
# the same with the address sanitizer. What is found is kept in fuzz/corpus, what breaks a target in fuzz/artifacts.
#
# Environment:
#   FUZZ_RUNS      inputs for each target at most    (default 20000)
#   FUZZ_SECONDS   seconds for each target at most   (default 60)
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${FUZZ_RUNS:-20000}
seconds=${FUZZ_SECONDS:-60}
host=$(rustc -vV | sed -n 's/^host: //p')
targets=("$@")
if ((${#targets[@]} == 0)); then
  for file in fuzz/fuzz_targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi
command -v c++ >/dev/null || {
  echo "fuzz: libFuzzer needs a C++ compiler: install g++ (Debian: apt-get install g++)" >&2
  exit 1
}
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
cargo build --manifest-path fuzz/Cargo.toml --release --target "$host" --bins
"fuzz/target/$host/release/seeds" fuzz/seeds fuzz/made
for target in "${targets[@]}"; do
  mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
  echo "fuzzing $target"
  "fuzz/target/$host/release/$target" -runs="$runs" -max_total_time="$seconds" -max_len=65536 -print_final_stats=1 \
    -artifact_prefix="fuzz/artifacts/$target/" "fuzz/corpus/$target" "fuzz/made/$target" 2>&1 | tail -n 12
done
