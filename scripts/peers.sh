#!/usr/bin/env bash
# Installs the peers that the benchmark compares with, where they can be had: `wasmtime serve` from the crate registry
# and workerd from npm. Neither is needed to build, test or run Fermion.
set -euo pipefail
dir=${XDG_CACHE_HOME:-$HOME/.cache}/fermion/peers
mkdir -p "$dir/bin"
if [[ ! -x $dir/bin/wasmtime ]]; then
  # With its default features: what people run.
  cargo install wasmtime-cli --version 48.0.8 --locked --root "$dir"
fi
if [[ ! -x $dir/bin/workerd ]] && command -v npm >/dev/null; then
  npm install --silent --no-audit --no-fund --package-lock=false --prefix "$dir/npm" workerd@1
  ln -sf "$dir/npm/node_modules/.bin/workerd" "$dir/bin/workerd"
fi
ls "$dir/bin"
