#!/bin/sh
# What messages between processes cost, ours beside distributed Erlang's where it does the same: a line of JSON for
# each, in turns, all under one congestion control.
#
#     bench/wire/table.sh [--rounds 3] [--control reno] [ROW...]
#
# Rows: ring latency calls ping resets spooled stalled idle bulk. With --control the whole runs in a network of its own, for
# which root is needed. Erlang (Debian: erlang-base) is needed for its lines; they are left out where it is missing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
rounds=3 control= rows=
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --control) control=$2; shift 2 ;;
    --*) echo "unknown option $1; see the top of $0" >&2; exit 2 ;;
    *) rows="$rows $1"; shift ;;
  esac
done
rows=${rows:-ring latency calls ping resets spooled stalled idle bulk}
cargo build --release --quiet --manifest-path "$here/../../Cargo.toml"
cargo bench --quiet --no-run --manifest-path "$here/../../Cargo.toml" -p strongroom-wire --bench point_to_point
if [ -n "$control" ]; then
  exec unshare -n sh -c '
    ip link set lo up && sysctl -qw "net.ipv4.tcp_congestion_control=$1" && shift && exec "$@"
  ' sh "$control" "$0" --rounds "$rounds" $rows
fi
ours() { "${CARGO_TARGET_DIR:-$here/../../target}/release/strongroom" --json wire bench "$@" | tr -d '\n' | tr -s ' '; echo; }
erlang() { if command -v erl >/dev/null; then "$here/disterl.sh" "$@"; else echo '{"lacks":"erl"}'; fi; }
for row in $rows; do
  turn=0
  while [ $turn -lt "$rounds" ]; do
    turn=$((turn + 1))
    case $row in
      ring) ours ring --rounds 3; erlang ring --rounds 3; erlang ring --rounds 3 --flags '' ;;
      latency) ours latency ;;
      calls) ours calls; erlang calls --seconds 2 --rounds 1 ;;
      ping) ours ping; erlang ping --load --seconds 2 --rounds 1 --gap-ms 1
        erlang ping --load --seconds 2 --rounds 1 --gap-ms 1 --flags '' ;;
      resets | spooled | stalled | idle) ours "$row"; turn=$rounds ;;
      bulk) cargo bench --quiet --manifest-path "$here/../../Cargo.toml" -p strongroom-wire --bench point_to_point; turn=$rounds ;;
      *) echo "there is no row $row; see the top of $0" >&2; exit 2 ;;
    esac
  done
done
