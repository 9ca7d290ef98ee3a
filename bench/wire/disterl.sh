#!/usr/bin/env bash
# Distributed Erlang beside Strongroom's messaging: compiles disterl.erl into a folder of its own, starts
# an epmd of its own on 127.0.0.1, runs, and takes both away again.
#
#   bench/wire/disterl.sh ring  --nodes 6 --workers 6 --bytes 10485760 --rounds 5
#   bench/wire/disterl.sh ping  --seconds 5 --rounds 5 [--load]
#   bench/wire/disterl.sh calls --seconds 5 --concurrency 64 --rounds 5
#
# Prints one line of JSON; README.md beside this file says what is in it. Needs erl, erlc and epmd
# (Debian: erlang-base), and setpriv (util-linux).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

[ $# -gt 0 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
for program in erl erlc epmd setpriv; do
  command -v $program >/dev/null || { echo "disterl.sh: $program is not on PATH" >&2; exit 3; }
done

folder=$(mktemp -d)
epmd='' controller=''
finish() {
  trap '' INT TERM HUP
  # The nodes end by themselves when the controller has ended.
  [ -z "$controller" ] || kill -KILL "$controller" 2>/dev/null || true
  [ -z "$epmd" ] || kill "$epmd" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

erlc -o "$folder" "$here/disterl.erl"

# A port of its own, so that an epmd that serves others here is neither used nor stopped. No cookie file
# and no .erlang of the user's either.
export ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT HOME=$folder
unset ERL_FLAGS ERL_AFLAGS ERL_ZFLAGS ERL_LIBS
answers() { epmd -names >/dev/null 2>&1; }
for _ in $(seq 20); do
  ERL_EPMD_PORT=$((20000 + RANDOM % 10000))
  ! answers || continue
  # Were this script killed outright, what it started would be too.
  setpriv --pdeathsig KILL epmd </dev/null >&2 &
  epmd=$!
  for _ in $(seq 50); do
    ! answers || break 2
    kill -0 "$epmd" 2>/dev/null || break
    sleep 0.1
  done
  kill "$epmd" 2>/dev/null || true
  epmd=''
done
[ -n "$epmd" ] || { echo 'disterl.sh: epmd does not start' >&2; exit 1; }

# The controller is not measured, and must not take processor time from those that are.
setpriv --pdeathsig KILL erl +S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none -noshell \
  -name controller@127.0.0.1 -setcookie "strongroom$RANDOM$RANDOM" -hidden -start_epmd false \
  -connect_all false -kernel inet_dist_use_interface '{127,0,0,1}' -pa "$folder" \
  -s disterl main -extra "$@" </dev/null &
controller=$!
status=0
wait "$controller" || status=$?
controller=''
exit "$status"
