#!/bin/sh
# Makes dist/app.wasm. The first run fetches the pinned tools into node_modules; later ones need no network.
set -eu
cd "$(dirname "$0")"
[ -f node_modules/.package-lock.json ] || npm install --loglevel=error
exec node build.mjs
