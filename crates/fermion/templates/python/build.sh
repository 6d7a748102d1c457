#!/bin/sh
# Makes dist/app.wasm. The first run fetches the pinned tools into .venv; later ones need no network.
set -eu
cd "$(dirname "$0")"
tools=.venv/bin/componentize-py
# A folder that was moved has tools that point to where it was: they are made anew.
if ! "$tools" --version >/dev/null 2>&1; then
  python3 -m venv --clear .venv
  .venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
fi
# The interpreter leaves compiled files beside what it reads: it reads a copy, so that src/ stays as it is written.
rm -rf dist/src
mkdir -p dist
cp -R src dist/src
exec "$tools" --quiet --wit-path wit --world handler componentize --python-path dist/src app --output dist/app.wasm
