#!/usr/bin/env bash
# Installs what a command of the Makefile needs and this machine lacks:  setup.sh build|test|bench
# It takes for granted: Rust, Node 20, Python 3.11. It says nothing when nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "setup: $*" >&2; }

# Adds a Debian package to the list unless the command it brings is there.
packages=()
need() { # COMMAND PACKAGE
  command -v "$1" >/dev/null || packages+=("$2")
}

case ${1:-} in
  build | test | bench) ;;
  *)
    say "usage: scripts/setup.sh build|test|bench"
    exit 2
    ;;
esac

# The build links native code; demo, tests and benchmark ask questions with curl.
need cc gcc
need curl curl
# Sources in Git are followed with the program.
need git git
case $1 in
  test)
    # Kills a deploy at each of its steps.
    need strace strace
    # Signs commits.
    need ssh-keygen openssh-client
    # Foreign tools that our packages are tried with, and a registry that knows no referrers.
    need skopeo skopeo
    need docker-registry docker-registry
    # Reads our metrics and judges by our rules; and the parser that the authors of OpenMetrics wrote.
    need prometheus prometheus
    /usr/bin/python3 -c 'import prometheus_client' 2>/dev/null || packages+=(python3-prometheus-client)
    # The Python example is built in an environment of its own.
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
    ;;
  bench)
    need wrk wrk
    need docker-registry docker-registry
    need taskset util-linux
    ;;
esac

if ((${#packages[@]})); then
  command -v apt-get >/dev/null || {
    say "needs ${packages[*]}: install them with this system's package manager"
    exit 1
  }
  apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
  if [[ $(id -u) != 0 ]]; then
    command -v sudo >/dev/null || {
      say "needs ${packages[*]}: install them as root, then run this again"
      exit 1
    }
    apt=(sudo "${apt[@]}")
  fi
  say "installing ${packages[*]}"
  "${apt[@]}" update >&2 || say "apt-get update failed, going on with the package lists that are there"
  "${apt[@]}" install -y --no-install-recommends "${packages[@]}" >/dev/null
  # Debian starts some as services; tests start their own, and a machine of ours need not listen for more.
  for service in docker-registry prometheus; do
    if [[ " ${packages[*]} " == *" $service "* && -d /run/systemd/system ]]; then
      if [[ $(id -u) == 0 ]]; then elevated=(); else elevated=(sudo); fi
      "${elevated[@]}" systemctl disable --now "$service" >/dev/null 2>&1 || say "could not stop the service $service"
    fi
  done
fi

if [[ $1 == test ]]; then
  scripts/oras.sh
fi

scripts/guest-toolchain.sh >/dev/null

# Another implementation's verifier of sigstore bundles, held against what we sign.
if [[ $1 == test ]]; then
  sigstore=target/sigstore
  if [[ ! -d $sigstore/node_modules/@sigstore/verify ]]; then
    say "installing @sigstore/verify"
    mkdir -p "$sigstore"
    npm install --silent --no-audit --no-fund --package-lock=false --prefix "$sigstore" @sigstore/verify@3.1.1 >&2
  fi
  cp scripts/sigstore/verify.mjs "$sigstore/"
fi
