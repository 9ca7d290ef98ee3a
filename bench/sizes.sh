#!/usr/bin/env bash
# Great sizes: one file of many GiB, very many files in one object. Memory, time, and what a kill at 90 %
# costs in bytes read again.
#
#   bench/sizes.sh FOLDER [--gib 20] [--files 1000000]
#
# FOLDER needs room for three times the large file (source, one copy, restored), or twice with --no-restore. The
# policy is copies=1, so that the disk holds it. Environment: STRONGROOM (the binary; built when not set).
# The registry alone at 10,000,000 files: cargo run --release -p strongroom-registry --example record_rate 10000000 FOLDER
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
usage() { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
folder='' gib=20 files=1000000 restore=true
while [ $# -gt 0 ]; do
  case $1 in
    --gib) gib=${2:?}; shift ;;
    --files) files=${2:?}; shift ;;
    --no-restore) restore=false ;;
    -*) usage ;;
    *) [ -z "$folder" ] || usage; folder=$1 ;;
  esac
  shift
done
[ -n "$folder" ] || usage
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
target=${CARGO_TARGET_DIR:-$repo/target}
if [ -z "${STRONGROOM:-}" ]; then
  cargo build --release --locked --manifest-path "$repo/Cargo.toml" >&2
  STRONGROOM=$target/release/strongroom
fi

measure() { # name, command...: wall time, peak memory, bytes read, all from the kernel
  python3 - "$@" <<'PY'
import os, resource, subprocess, sys, time
name, command = sys.argv[1], sys.argv[2:]
begun = time.monotonic()
child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
io = dict(line.split(": ") for line in open(f"/proc/{child.pid}/io").read().split("\n") if line)
code = child.wait()
took = time.monotonic() - begun
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
print(f"{name:<44} {took:8.1f} s  {peak:5} MiB at most  {int(io['rchar']) / 2**20:10.0f} MiB read  exit {code}", flush=True)
PY
}

large=$folder/large
if [ "$gib" -gt 0 ]; then
  mkdir -p "$large"
  if [ "$(stat -c %s "$large/large.bin" 2>/dev/null || echo 0)" != $((gib << 30)) ]; then
    head -c "${gib}G" /dev/urandom >"$large/large.bin"
  fi
  export STRONGROOM_DATA=$folder/large-archive
  rm -rf "$STRONGROOM_DATA"
  "$STRONGROOM" policy set copies=1 >/dev/null 2>&1
  python3 - "$STRONGROOM" "$large" "$gib" <<'PY'
import os, resource, signal, subprocess, sys, time
program, source, gib = sys.argv[1], sys.argv[2], int(sys.argv[3])
child = subprocess.Popen([program, "deposit", source], stdout=subprocess.DEVNULL)
wanted = gib * 2**30 * 0.9
while child.poll() is None:
    io = dict(l.split(": ") for l in open(f"/proc/{child.pid}/io").read().split("\n") if l)
    if int(io["rchar"]) >= wanted:
        child.send_signal(signal.SIGKILL)
        break
    time.sleep(0.05)
os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
io = dict(l.split(": ") for l in open(f"/proc/{child.pid}/io").read().split("\n") if l)
child.wait()
first = int(io["rchar"])
again = subprocess.Popen([program, "deposit", source], stdout=subprocess.DEVNULL)
os.waitid(os.P_PID, again.pid, os.WEXITED | os.WNOWAIT)
io = dict(l.split(": ") for l in open(f"/proc/{again.pid}/io").read().split("\n") if l)
code = again.wait()
over = (first + int(io["rchar"]) - gib * 2**30) / 2**20
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
print(f"deposit {gib} GiB, killed at 90 %, gone on with: exit {code}, {over:.0f} MiB read beyond the source, "
      f"{peak} MiB of memory at most", flush=True)
PY
  if $restore; then
    rm -rf "$folder/large-restored"
    measure "restore $gib GiB" "$STRONGROOM" restore local/large --as files --to "$folder/large-restored"
    cmp "$large/large.bin" "$folder/large-restored/large.bin" && echo "the restored file is the same"
    rm -rf "$folder/large-restored"
  fi
  rm -rf "$STRONGROOM_DATA"
fi

if [ "$files" -gt 0 ]; then
  many=$folder/many.tar
  if [ ! -f "$many" ]; then
    python3 - "$many" "$files" <<'PY'
import io, sys, tarfile
with tarfile.open(sys.argv[1], "w") as tar:
    for i in range(int(sys.argv[2])):
        info = tarfile.TarInfo(f"{i // 1000:04}/a file {i:07}.txt")
        body = f"the text of file {i}\n".encode() * 4
        info.size = len(body)
        tar.addfile(info, io.BytesIO(body))
PY
  fi
  export STRONGROOM_DATA=$folder/many-archive
  rm -rf "$STRONGROOM_DATA"
  measure "deposit $files files" "$STRONGROOM" deposit "$many" --object local/many
  measure "deposit the same again" "$STRONGROOM" deposit "$many" --object local/many
  measure "object show" "$STRONGROOM" object show local/many
  measure "object list" "$STRONGROOM" object list
  measure "status" "$STRONGROOM" status
  measure "fixity" "$STRONGROOM" fixity
  if $restore; then
    rm -f "$folder/many-restored.tar"
    measure "restore $files files as a tar" "$STRONGROOM" restore local/many --as tar --to "$folder/many-restored.tar"
    rm -f "$folder/many-restored.tar"
    rm -rf "$folder/many-bag"
    measure "restore them as a bag" "$STRONGROOM" restore local/many --as bag --to "$folder/many-bag"
    # A second manifest, as deposited bags often have.
    rm "$folder/many-bag/tagmanifest-sha256.txt"
    (cd "$folder/many-bag" && find data -type f -print0 | xargs -0 md5sum >manifest-md5.txt)
    measure "bag validate of it, with two manifests" "$STRONGROOM" bag validate "$folder/many-bag"
    measure "deposit of it" "$STRONGROOM" deposit "$folder/many-bag" --object local/many-bag
    rm -rf "$folder/many-bag"
  fi
  rm -f "$STRONGROOM_DATA"/strongroom.db*
  measure "rebuild" "$STRONGROOM" rebuild --from "$STRONGROOM_DATA/shelves/a" "$STRONGROOM_DATA/shelves/b"
  measure "object show after it" "$STRONGROOM" object show local/many
  rm -rf "$STRONGROOM_DATA"
fi
