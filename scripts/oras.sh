#!/usr/bin/env bash
# Makes target/tools/oras: a Python environment with the oras library, in exactly these versions. Tests pull and push
# our packages with it. It says nothing when it is there.
set -euo pipefail
cd "$(dirname "$0")/.."

home=target/tools/oras
wanted='oras==0.2.43 requests==2.34.2 jsonschema==4.26.0'

[[ -f $home/made-of && $(<"$home/made-of") == "$wanted" ]] && exit 0
echo "setup: making $home" >&2
rm -rf "$home"
mkdir -p "$(dirname "$home")"
python3 -m venv "$home"
# shellcheck disable=SC2086 # the list is meant to be split
"$home/bin/pip" --quiet --disable-pip-version-check --retries 3 install $wanted
printf '%s\n' "$wanted" >"$home/made-of"
