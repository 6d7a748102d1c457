#!/usr/bin/env bash
# Makes a Rust toolchain that compiles to wasm32-wasip2, and prints the cargo to use on the last line of stdout.
# Progress goes to stderr. Running it again is cheap and changes nothing.
#
# Roads, the first that works:
#   1. the active rustc already has the target
#   2. our own toolchain, made by an earlier run, is there and still matches its compiler
#   3. rustup can fetch the target (tried for a bounded time: without a network rustup hangs)
#   4. Debian: its compiler and libc for WebAssembly, and std built once from Debian's copy of the source
#
# Environment:
#   FERMION_GUEST_RUST   where road 4 puts its toolchain (default: ~/.cache/fermion/guest-rust); a builder that puts
#                        its bin/ first on PATH needs nothing else
#   FERMION_GUEST_ROAD   debian: skip roads 1 and 3
set -euo pipefail

target=wasm32-wasip2
rustup_seconds_max=20
home=${FERMION_GUEST_RUST:-${XDG_CACHE_HOME:-$HOME/.cache}/fermion/guest-rust}
road=${FERMION_GUEST_ROAD:-any}
debian_rustc=/usr/bin/rustc
debian_cargo=/usr/bin/cargo

say() { echo "guest-toolchain: $*" >&2; }
die() { say "$*"; exit 1; }

active_has_target() {
  local sysroot
  command -v cargo >/dev/null && sysroot=$(rustc --print sysroot 2>/dev/null) && [[ -d $sysroot/lib/rustlib/$target/lib ]]
}

# What the std that we built depends on. It is empty when a part of it is not installed.
debian_stamp() {
  local compiler libc
  compiler=$("$debian_rustc" -V 2>/dev/null) || return 0
  libc=$(dpkg-query -W -f '${Version}' wasi-libc 2>/dev/null) || return 0
  echo "layout 1, $compiler, wasi-libc $libc"
}

own_is_current() {
  [[ -f $home/stamp && -x $debian_cargo ]] && [[ $(<"$home/stamp") == "$(debian_stamp)" ]]
}

rustup_adds_target() {
  command -v rustup >/dev/null || return 1
  say "asking rustup for $target (at most ${rustup_seconds_max}s)"
  timeout "$rustup_seconds_max" rustup target add "$target" >&2 && active_has_target
}

install_packages() {
  local missing=() name
  for name in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$name" 2>/dev/null) == ii* ]] || missing+=("$name")
  done
  ((${#missing[@]})) || return 0
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
  if [[ $(id -u) != 0 ]]; then
    command -v sudo >/dev/null || die "needs the Debian packages ${missing[*]}: install them as root, then run this again"
    apt=(sudo "${apt[@]}")
  fi
  say "installing ${missing[*]}"
  "${apt[@]}" update >&2 || say "apt-get update failed, going on with the package lists that are there"
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >&2
}

# The host half of the sysroot is Debian's own, by links. rustc puts its gcc-ld-like bin folder on the linker's PATH.
link_host_half() {
  local root=$1 host=$2 linker=$3
  local ours=$root/lib/rustlib/$host debians=/usr/lib/rustlib/$host
  mkdir -p "$root/bin" "$ours/bin"
  ln -s "$debians/lib" "$ours/lib"
  ln -s "$debians/bin/wasm-component-ld" "$ours/bin/wasm-component-ld"
  ln -s "$linker" "$ours/bin/wasm-ld"
  ln -s "$linker" "$ours/bin/rust-lld"
}

# $2 is the folder the toolchain will live in, which is not yet the one it is made in.
write_wrappers() {
  local root=$1 final=$2
  printf '#!/bin/sh\nexec %s --sysroot %q "$@"\n' "$debian_rustc" "$final" >"$root/bin/rustc"
  {
    echo '#!/bin/sh'
    echo '# What an outer cargo or rustup exports is meant for the host build, not for the guest.'
    echo 'unset CARGO CARGO_BUILD_TARGET CARGO_BUILD_RUSTC CARGO_BUILD_RUSTFLAGS CARGO_ENCODED_RUSTFLAGS RUSTFLAGS'
    echo 'unset CARGO_MAKEFLAGS MAKEFLAGS RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTUP_TOOLCHAIN'
    printf 'RUSTC=%q RUSTDOC=/usr/bin/rustdoc exec %s "$@"\n' "$final/bin/rustc" "$debian_cargo"
  } >"$root/bin/cargo"
  chmod +x "$root/bin/rustc" "$root/bin/cargo"
}

# std with its bitcode embedded, so that guests can be optimised across it.
build_std() {
  local root=$1 work=$2
  local lib=$root/lib/rustlib/$target/lib
  mkdir -p "$work/src" "$lib/self-contained"
  : >"$work/src/lib.rs"
  cat >"$work/Cargo.toml" <<'TOML'
[package]
name = "std-carrier"
version = "0.0.0"
edition = "2021"
[profile.release]
codegen-units = 1
[workspace]
TOML
  (
    unset CARGO CARGO_BUILD_TARGET CARGO_BUILD_RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_MAKEFLAGS MAKEFLAGS
    unset RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTUP_TOOLCHAIN
    export RUSTC=$debian_rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Cembed-bitcode=yes -Cpanic=abort"
    cd "$work"
    "$debian_cargo" build --quiet --release --target "$target" -Zbuild-std=std,panic_abort --target-dir "$work/target" >&2
  )
  local rlib
  for rlib in "$work/target/$target/release/deps"/*.rlib; do
    [[ $(basename "$rlib") == libstd_carrier-* ]] || cp "$rlib" "$lib/"
  done
  cp /usr/lib/wasm32-wasi/{libc.a,crt1-command.o,crt1-reactor.o} "$lib/self-contained/"
}

make_own() {
  command -v apt-get >/dev/null || die "this rustc has no $target, rustup could not add it, and this is not Debian: run 'rustup target add $target' with a network"
  install_packages rustc-web cargo-web rust-web-src rust-web-llvm wasi-libc
  local llvm host work stamp
  llvm=$("$debian_rustc" -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
  host=$("$debian_rustc" -vV | sed -n 's/^host: //p')
  install_packages "lld-$llvm"
  stamp=$(debian_stamp)
  [[ -n $stamp ]] || die "$debian_rustc or the package wasi-libc is still missing after installing them"
  say "building std for $target, once (about a minute and a half)"
  mkdir -p "$(dirname "$home")"
  work=$(mktemp -d "$home.making.XXXXXX")
  # The folder's name is fixed now: the variable is gone when the trap runs.
  # shellcheck disable=SC2064
  trap "rm -rf '$work'" EXIT
  link_host_half "$work/root" "$host" "/usr/lib/llvm-$llvm/bin/wasm-ld"
  write_wrappers "$work/root" "$home"
  build_std "$work/root" "$work/carrier"
  echo "$stamp" >"$work/root/stamp"
  rm -rf "$home"
  mv "$work/root" "$home"
}

if [[ $road != debian ]] && active_has_target; then
  command -v cargo
  exit 0
fi
if ! own_is_current; then
  mkdir -p "$(dirname "$home")"
  # One maker at a time; who waited finds it made.
  exec 9>"$home.lock"
  flock 9
  if ! own_is_current; then
    if [[ $road != debian ]] && rustup_adds_target; then
      command -v cargo
      exit 0
    fi
    make_own
  fi
fi
echo "$home/bin/cargo"
