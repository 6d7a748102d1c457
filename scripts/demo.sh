#!/usr/bin/env bash
# Starts the platform with the examples and plays scenes on it: each example answers, a hostile guest is contained, a
# new release takes over and is taken back under load, one is rolled out in steps and a bad one goes back by itself, the
# process is killed and comes back. Every answer is checked;
# the first wrong one ends the demo with status 1. Then the platform stays up until Ctrl-C.
#
# Environment (each also as `make demo NAME=VALUE`):
#   ONCE=1        end after the scenes
#   LISTEN        where the gateway listens   (default 127.0.0.1:8080)
#   ADMIN         where the admin API listens (default 127.0.0.1:7070)
#   LANGUAGES     which examples (default: rust, and js and python where their tools are there)
#   FERMION_BIN   the binary (default target/release/fermion)
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

# At a terminal Ctrl-C would end `make` too, with an error. A foreground job of its own keeps the signal to the demo.
if [[ -t 0 && -z ${FERMION_DEMO_FOREGROUND:-} ]]; then
  set -m
  FERMION_DEMO_FOREGROUND=1 "$0"
  exit
fi

once=${ONCE:-}
listen=${LISTEN:-127.0.0.1:8080}
admin=${ADMIN:-127.0.0.1:7070}
binary=$(realpath "${FERMION_BIN:-target/release/fermion}" 2>/dev/null) || binary=
place=$root/target/demo
gateway=http://$listen
ready_seconds_max=1800 # a first build fetches and compiles a lot

if [[ -t 1 ]]; then bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' plain=$'\e[0m'; else bold='' dim='' red='' plain=''; fi
scene() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
say() { printf '%s\n' "$*"; }
command_line() { printf '%s$ %s%s\n' "$dim" "$*" "$plain"; }
die() {
  printf '%sdemo: %s%s\n' "$red" "$*" "$plain" >&2
  exit 1
}

platform=
load=
ended() {
  local status=$?
  trap - EXIT INT TERM
  [[ -z $load ]] || kill "$load" 2>/dev/null || true
  if [[ -n $platform ]] && kill "$platform" 2>/dev/null; then
    wait "$platform" || true
  fi
  local log
  for log in "$place/platform.log" "$place/deploy.log"; do
    if ((status != 0)) && [[ -s $log ]]; then
      say "the end of $log:" >&2
      tail -n 20 "$log" >&2
    fi
  done
  exit "$status"
}

fermion() { "$binary" "$@"; }

is_taken() { (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null; }

check_place() {
  [[ -x $binary ]] || die "there is no ${FERMION_BIN:-target/release/fermion}: run 'make build' first, or say FERMION_BIN=PATH"
  local address
  for address in "$listen" "$admin"; do
    if is_taken "$address"; then
      die "something listens on $address already: stop it, or choose other ports: make demo LISTEN=127.0.0.1:9080 ADMIN=127.0.0.1:9070"
    fi
  done
}

# Which examples to start, in $folders; each of them must answer later.
choose_examples() {
  local languages=${LANGUAGES:-}
  if [[ -z $languages ]]; then
    languages=rust
    if command -v node >/dev/null && command -v npm >/dev/null; then
      languages+=" js"
    else
      say "no node and npm here: without the JavaScript example"
    fi
    if python3 -c 'import ensurepip, venv' 2>/dev/null; then
      languages+=" python"
    else
      say "no python3 with venv here: without the Python example"
    fi
  fi
  folders=(examples/hello examples/json-transform "$place/fetch-upstream")
  wants_js= wants_python=
  if [[ $languages == *js* ]]; then
    wants_js=1
    folders+=(examples/hello-js)
  fi
  if [[ $languages == *python* ]]; then
    wants_python=1
    folders+=(examples/hello-py)
  fi
}

# A project around the guest of the tests that does everything a handler must not do.
write_hostile() {
  mkdir -p "$place/hostile"
  cat >"$place/hostile/fermion.toml" <<TOML
[package]
name = "demo/hostile"
version = "6.6.6"
component = "guest.wasm"

[build]
command = "cp '$root/target/guests/p2-edge.wasm' guest.wasm"

[limits]
memory = "32MiB"
cpu_time = "200ms"
wall_time = "2s"
TOML
}

# The example as it is, calling hello through the port that this demo listens on.
write_fetch_upstream() {
  mkdir -p "$place/fetch-upstream"
  sed -e "s|http://127.0.0.1:8080|$gateway|" \
    -e 's|^component = .*|component = "guest.wasm"|' \
    -e 's|^command = .*|command = "sh build.sh"|' \
    examples/fetch-upstream/fermion.toml >"$place/fetch-upstream/fermion.toml"
  cat >"$place/fetch-upstream/build.sh" <<SH
set -eu
here=\$PWD
cd '$root/examples/fetch-upstream'
cargo build --target wasm32-wasip2 --release --locked
cp target/wasm32-wasip2/release/fetch_upstream.wasm "\$here/guest.wasm"
SH
  cat >"$place/fetch-upstream/app.yaml" <<YAML
apiVersion: fermion.dev/v1
kind: App
metadata: {name: fetch-upstream}
spec:
  config: {upstream: "$gateway/hello/"}
YAML
}

# Starts the platform with $@ as its folders and shows what it says until it is ready.
start() {
  local log=$place/platform.log shown=0 now waited=0
  : >"$log"
  "$binary" up "$@" --listen "$listen" --admin "$admin" >"$log" 2>&1 &
  platform=$!
  until grep -q '^gateway ' "$log"; do
    kill -0 "$platform" 2>/dev/null || {
      platform=
      die "the platform did not start"
    }
    sleep 0.1
    now=$(wc -l <"$log")
    if ((now > shown)); then
      sed -n "$((shown + 1)),${now}p" "$log"
      shown=$now
    fi
    ((++waited < ready_seconds_max * 10)) || die "not ready after $ready_seconds_max s"
  done
  tail -n "+$((shown + 1))" "$log"
  if grep -q 'is not deployed' "$log"; then
    die "a project could not be deployed (to leave out other languages: make demo LANGUAGES=rust)"
  fi
}

# Ends the platform with a signal that drains, and wants status 0 of it.
stop() {
  local status=0
  kill -TERM "$platform"
  wait "$platform" || status=$?
  platform=
  ((status == 0)) || die "the platform ended with status $status"
}

# show EXPECTED CURL-ARGUMENTS...: one request and its answer, which must contain EXPECTED.
show() {
  local expected=$1 answer
  shift
  command_line "curl $(quoted "$@")"
  answer=$(curl -sS --max-time 30 "$@") || die "no answer"
  say "$answer"
  [[ $answer == *"$expected"* ]] || die "that should have contained: $expected"
}

quoted() {
  local word out=
  for word in "$@"; do
    if [[ $word =~ ^[A-Za-z0-9_./:=@%+,-]+$ ]]; then out+=" $word"; else out+=" '$word'"; fi
  done
  printf '%s' "${out# }"
}

# contained STATUS CODE PATH: the hostile guest's answer to PATH, as its caller sees it.
contained() {
  local answer status code blame seconds
  answer=$(curl -sS --max-time 30 -o "$place/body" -D "$place/head" -w '%{http_code} %{time_total}' "$gateway/hostile$3") ||
    die "$3: no answer"
  status=${answer% *} seconds=${answer#* }
  code=$(sed -n 's/^proxy-status:.*details="\([A-Z_]*\)".*/\1/Ip' "$place/head")
  blame=$(sed -n 's/.*"blame":"\([a-z]*\)".*/\1/p' "$place/body")
  printf '  %-22s %s  %-24s blame %-6s after %4.0f ms\n' "$3" "$status" "$code" "$blame" "$(milliseconds "$seconds")"
  [[ $status == "$1" && $code == "$2" && $blame == guest ]] || die "$3 should have been $1 $2, blame guest"
  ! grep -q 7f3a "$place/body" || die "$3: the guest's secret went out"
}

milliseconds() { awk -v s="$1" 'BEGIN { print s * 1000 }'; }

# Asks hello without a pause until load_ends; each line is a status and a time.
load_begins() {
  rm -f "$place/load.end"
  : >"$place/load"
  while [[ ! -e $place/load.end ]]; do
    curl -sS --max-time 10 -o /dev/null -w '%{http_code} %{time_total}\n' "$gateway/hello/?[1-20]" >>"$place/load" 2>>"$place/load.err" || true
  done &
  load=$!
}

# load_ends [HIT]: with HIT, some requests may have failed, and how many is said.
load_ends() {
  : >"$place/load.end"
  wait "$load" || true
  load=
  local count bad slowest
  count=$(wc -l <"$place/load")
  bad=$(grep -vc '^200 ' "$place/load" || true)
  slowest=$(sort -k2 -n "$place/load" | tail -n 1)
  ((count > 0)) || die "hello was not asked at all"
  if [[ -n ${1:-} ]]; then
    ((bad > 0)) || die "nobody met the bad release"
    ((bad * 5 < count)) || die "$bad of $count requests met the bad release"
    say "  hello meanwhile: $count requests, $bad of them hit by the bad release"
    return
  fi
  ((bad == 0)) || die "$bad of $count requests to hello failed meanwhile"
  printf '  hello meanwhile: %s requests, every one 200, the slowest %.0f ms\n' "$count" "$(milliseconds "${slowest#* }")"
}

examples_answer() {
  scene "The examples answer"
  show 'Hello, world!' "$gateway/hello/"
  show '"gross_cents":1607' "$gateway/json-transform/" -H 'content-type: application/json' \
    -d '{"currency":"EUR","items":[{"sku":"tea","quantity":3,"unit_cents":450,"tax_percent":19}]}'
  show 'items[0].quantity' "$gateway/json-transform/" -H 'content-type: application/json' \
    -d '{"currency":"EUR","items":[{"sku":"tea","quantity":0,"unit_cents":450,"tax_percent":19}]}'
  show 'Hello, world!' "$gateway/fetch-upstream/"
  [[ -z $wants_js ]] || show 'Hello, JavaScript!' "$gateway/hello-js/?name=JavaScript"
  [[ -z $wants_python ]] || show 'Hello, Python!' "$gateway/hello-py/?name=Python"
}

hostile_guest() {
  scene "A hostile guest is contained"
  command_line "fermion deploy hostile"
  fermion deploy "$place/hostile" 2>>"$place/deploy.log"
  say "  Each of its requests fails alone and by name, while hello is asked without a pause:"
  load_begins
  contained 504 GUEST_CPU_LIMIT /loop
  contained 502 GUEST_MEMORY_LIMIT /alloc
  contained 502 GUEST_TRAP /panic
  contained 502 GUEST_STACK_LIMIT /stack
  contained 502 GUEST_NO_RESPONSE /never
  contained 504 GUEST_TIMEOUT /hang
  contained 502 GUEST_RESPONSE_INVALID /many-headers/5000
  load_ends
  say "  What a caller gets for the panic:"
  command_line "curl $gateway/hostile/panic"
  curl -sS "$gateway/hostile/panic"
  say "  What its owner reads:"
  command_line "fermion logs hostile -l 3"
  fermion logs hostile -l 3
  say "  What the metrics counted:"
  command_line "curl -H 'authorization: Bearer ...' http://$admin/metrics | grep fermion_faults"
  # The token is handed over on standard input, so that no process list shows it.
  printf 'header = "authorization: Bearer %s"\n' "$(cat "$FERMION_DATA/admin.token")" |
    curl -sS -K - "http://$admin/metrics" >"$place/metrics"
  grep '^fermion_faults_total' "$place/metrics" || die "the metrics know of no fault"
}

new_release_and_back() {
  scene "A new release, and back, under load"
  rm -rf "$place/hello"
  cp -a examples/hello "$place/hello"
  sed -i 's/Hello, world!/Hello from the next release!/' "$place/hello/src/lib.rs"
  sed -i 's/^version = "1.0.0"/version = "1.1.0"/' "$place/hello/fermion.toml"
  load_begins
  command_line "fermion deploy hello    # version 1.1.0, another greeting"
  fermion deploy "$place/hello" 2>>"$place/deploy.log"
  show 'Hello from the next release!' "$gateway/hello/"
  command_line "fermion rollback hello"
  fermion rollback hello
  show 'Hello, world!' "$gateway/hello/"
  load_ends
  command_line "fermion releases hello"
  fermion releases hello
}

steps_that_judge_themselves() {
  scene "A good release in steps, and a bad one that goes back by itself"
  rm -rf "$place/hello"
  cp -a examples/hello "$place/hello"
  cat >"$place/hello/app.yaml" <<'YAML'
apiVersion: fermion.dev/v1
kind: App
metadata: {name: hello}
spec:
  rollout:
    strategy: canary
    steps: [{weight: 20%, bake: 16s}, {weight: 60%, bake: 16s}]
    post_bake: 2s
    judge: {metrics: [errors]}
YAML
  sed -i 's/^version = "1.0.0"/version = "1.2.0"/' "$place/hello/fermion.toml"
  command_line "fermion plan hello"
  fermion plan "$place/hello"
  load_begins
  command_line "fermion deploy hello    # version 1.2.0, as good as the one before"
  fermion deploy "$place/hello" 2>>"$place/deploy.log"
  command_line "fermion rollout watch hello"
  fermion rollout watch hello
  load_ends
  sed -i 's/^version = "1.2.0"/version = "1.3.0"/' "$place/hello/fermion.toml"
  sed -i -e 's/_request: IncomingRequest/request: IncomingRequest/' \
    -e 's|^        let headers = Fields::new();|        let path = request.path_with_query().unwrap_or_default();\n        assert!(!path.ends_with([\x273\x27, \x276\x27, \x279\x27]), "no tax table for {path}");\n&|' \
    "$place/hello/src/lib.rs"
  load_begins
  command_line "fermion deploy hello    # version 1.3.0, which panics for some"
  fermion deploy "$place/hello" 2>>"$place/deploy.log"
  command_line "fermion rollout watch hello"
  if fermion rollout watch hello; then die "the bad release got through"; fi
  load_ends hit
  command_line "fermion rollout history hello"
  fermion rollout history hello
  show 'Hello, world!' "$gateway/hello/"
}

killed_and_back() {
  scene "Killed with -9, started again without arguments"
  kill -9 "$platform"
  wait "$platform" 2>/dev/null || true
  platform=
  command_line "fermion up"
  start
  serves_again
  show 'Hello, world!' "$gateway/hello/"
}

# Packages are verified and loaded again first: no app is routed before it is ready.
serves_again() {
  local waited=0
  until [[ $(curl -s -o "$place/body" -w '%{http_code}' --max-time 10 "$gateway/hello/") == 200 ]]; do
    ((++waited < 300)) || die "hello does not serve again"
    sleep 0.1
  done
}

# The signal of a terminal has reached the platform already, one sent to this script alone has not: a second one would
# cut requests off. Draining closes the port first, which tells the two apart.
interrupted() {
  trap - INT TERM
  sleep 0.3
  if is_taken "$listen"; then kill -TERM "$platform" 2>/dev/null || true; fi
  finish
}

finish() {
  local status=0
  wait "$platform" || status=$?
  platform=
  ((status == 0)) || die "the platform ended with status $status"
  say "drained and stopped"
  exit 0
}

stay_up() {
  scene "The platform stays up"
  fermion status
  say ""
  say "  $gateway/hello/   (each app at $gateway/NAME/)"
  say "  http://$admin/     the admin API; its token is in $FERMION_DATA/admin.token"
  say "  Try: $binary logs hostile -f --data $FERMION_DATA --admin $admin"
  say "  Ctrl-C drains and stops."
  trap interrupted INT TERM
  finish
}

check_place
rm -rf "$place"
mkdir -p "$place"
export FERMION_DATA=$place/data FERMION_ADMIN=$admin
trap ended EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
choose_examples
cargo xtask guests --only p2-edge >"$place/guests.log" 2>&1 || {
  cat "$place/guests.log" >&2
  die "the hostile guest could not be built"
}
write_hostile
write_fetch_upstream

scene "Build, pack, sign, verify, compile, serve"
command_line "fermion up $(quoted "${folders[@]#"$root/"}")"
start "${folders[@]}"
examples_answer
hostile_guest
new_release_and_back
steps_that_judge_themselves
killed_and_back
if [[ -n $once ]]; then
  stop
  scene "Every scene gave what it should; drained and stopped"
else
  stay_up
fi
