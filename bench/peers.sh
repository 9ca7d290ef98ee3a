#!/usr/bin/env bash
# Strongroom beside its peers, on the same inputs, in one run: times, ratios, peak memory.
#
#   bench/peers.sh FOLDER [--mib 2048] [--files 20000] [--kib 20] [--rounds 3]
#
# FOLDER should be on the disk to be tested, with room for nine times the large input and, a round,
# for eighteen times the small one; the inputs are kept there for the next run. What is timed: process
# start to exit, warm cache, after what others wrote is on the disk. Beside each row of Strongroom runs
# its peer, in turn, and the rate of hashing on one core is measured then. Environment:
# STRONGROOM (the binary; built when not set), STRONGROOM_TEST_PYTHON (a Python with bagit, as
# tools/test prepares it).
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)

usage() { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }

folder='' mib=2048 files=20000 kib=20 rounds=3
while [ $# -gt 0 ]; do
  case $1 in
    --mib) mib=${2:?}; shift ;;
    --files) files=${2:?}; shift ;;
    --kib) kib=${2:?}; shift ;;
    --rounds) rounds=${2:?}; shift ;;
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
python=${STRONGROOM_TEST_PYTHON:-$target/test-python/bin/python}
[ -x "$python" ] || python=python3
have_bagit=true
"$python" -c 'import bagit' 2>/dev/null || have_bagit=false
have_rocfl=true
command -v rocfl >/dev/null || have_rocfl=false

# --- the inputs: large = one file, small = many; each as a bag with md5 and sha256, and its tar

make_payload() { # kind, folder
  "$python" - "$1" "$2" "$mib" "$files" "$kib" <<'PY'
import os, random, sys
kind, folder, mib, files, kib = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
rng = random.Random(1)
os.makedirs(folder)
if kind == "large":
    with open(f"{folder}/large.bin", "wb") as out:
        for _ in range(mib):
            out.write(rng.randbytes(1 << 20))
else:
    for i in range(files):
        sub = f"{folder}/{i // 1000:03}"
        os.makedirs(sub, exist_ok=True)
        with open(f"{sub}/{i:06}.bin", "wb") as out:
            out.write(rng.randbytes(kib << 10))
PY
}

make_bag() { # a plain bag, made without any of the programs that are measured
  "$python" - "$1" <<'PY'
import hashlib, os, sys
bag = sys.argv[1]
lines = {"md5": [], "sha256": []}
for base, _, names in os.walk(f"{bag}/data"):
    for name in names:
        path = os.path.join(base, name)
        hashes = [hashlib.new(a) for a in lines]
        with open(path, "rb") as file:
            while part := file.read(1 << 20):
                for h in hashes:
                    h.update(part)
        for a, h in zip(lines, hashes):
            lines[a].append(f"{h.hexdigest()}  {os.path.relpath(path, bag)}\n")
with open(f"{bag}/bagit.txt", "w") as out:
    out.write("BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
for a, l in lines.items():
    with open(f"{bag}/manifest-{a}.txt", "w") as out:
        out.writelines(sorted(l, key=lambda x: x.split("  ", 1)[1]))
PY
}

for kind in large small; do
  stamp="$mib $files $kib"
  bag=$folder/$kind
  if [ "$(cat "$folder/$kind.stamp" 2>/dev/null)" != "$stamp" ]; then
    echo "making $bag" >&2
    rm -rf "$bag" "$bag.tar" "$folder/$kind.stamp"
    make_payload "$kind" "$bag/data"
    make_bag "$bag"
    tar -C "$folder" --format=pax -cf "$bag.tar" "$kind"
    echo "$stamp" >"$folder/$kind.stamp"
  fi
done

# --- measuring

results=$folder/results.tsv
: >"$results"

measure() { # input, what, command...: a line `input what seconds peak_kib outcome` for each round
  local input=$1 what=$2
  shift 2
  echo "-- $input: $what: $*" >&2
  sync
  sleep 2
  "$python" - "$input" "$what" "$results" "$@" <<'PY'
import resource, subprocess, sys, time
input_, what, results, *command = sys.argv[1:]
begun = time.monotonic()
done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
seconds = time.monotonic() - begun
# Of the largest process among the children, as the kernel counts it.
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
outcome = "ok" if done.returncode == 0 else f"exit {done.returncode}"
if done.returncode:
    sys.stderr.write(done.stderr.decode(errors="replace")[-2000:])
with open(results, "a") as out:
    out.write(f"{input_}\t{what}\t{seconds:.3f}\t{peak}\t{outcome}\n")
PY
}

work=$folder/work
rm -rf "$work"
mkdir -p "$work"
echo "== limits of this machine"
"$STRONGROOM" bench limits --folder "$work" || echo "strongroom bench limits failed" >&2

# What a deposit on two shelves writes, and what a restoration does, as plain copying would: the limit
# that the disk and the system's memory set, measured beside each.
copy=$folder/copy.py
cat >"$copy" <<'PY'
import os, shutil, sys
source, target, copies = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.mkdir(target)
for i in range(copies):
    to = f"{target}/{i}"
    shutil.copytree(source, to) if os.path.isdir(source) else shutil.copy(source, to)
os.sync()
PY

# Many files removed make new ones slow to make for a minute (ext4 passes over their inodes), so small
# ones stay until the end.
for round in $(seq "$rounds"); do
  for kind in large small; do
    "$STRONGROOM" --json bench limits | "$python" -c 'import json, sys
for row in json.load(sys.stdin):
    print("limit", sys.argv[1] + " " + row["name"], row["bytes_per_second"], 0, "ok", sep="\t")' \
      "$kind" >>"$results"
    cat "$folder/$kind.tar" >/dev/null # warm
    find "$folder/$kind" -type f -exec cat {} + >/dev/null
    for form in folder tar; do
      source=$folder/$kind
      [ $form = folder ] || source=$source.tar
      at=$work/$round-$kind-$form
      mkdir -p "$at"
      measure "$kind $form" validate "$STRONGROOM" bag validate "$source"
      if $have_bagit; then
        if [ $form = folder ]; then
          measure "$kind $form" 'validate: bagit-python' \
            "$python" -m bagit --quiet --validate --processes 2 "$source"
        else # it reads no tar, so unpacking is a part of it
          measure "$kind $form" 'validate: bagit-python' sh -c \
            'tar -C "$1" -xf "$2" && "$3" -m bagit --quiet --validate --processes 2 "$1/$4"' \
            sh "$at" "$source" "$python" "$kind"
        fi
      fi
      measure "$kind $form" deposit \
        "$STRONGROOM" --data "$at/archive" deposit --object local/bench "$source"
      measure "$kind $form" 'deposit: two copies, sync' "$python" "$copy" "$source" "$at/copies" 2
      measure "$kind $form" restore \
        "$STRONGROOM" --data "$at/archive" restore local/bench --to "$at/restored"
      measure "$kind $form" 'restore: a copy, sync' "$python" "$copy" "$folder/$kind" "$at/copy" 1
      if $have_rocfl && [ $form = folder ]; then
        mkdir "$at/ocfl"
        rocfl -r "$at/ocfl" init >/dev/null
        rocfl -r "$at/ocfl" new bench >/dev/null
        measure "$kind $form" 'deposit: rocfl' sh -c \
          'rocfl -r "$1" cp -r bench "$2" -- / && rocfl -r "$1" commit bench' \
          sh "$at/ocfl" "$source"
      fi
      [ "$kind" = small ] || rm -rf "$at"
    done
    at=$work/$round-$kind-plain
    mkdir -p "$at"
    measure "$kind plain" deposit \
      "$STRONGROOM" --data "$at/archive" deposit --object local/bench "$folder/$kind/data"
    measure "$kind plain" 'deposit: two copies, sync' \
      "$python" "$copy" "$folder/$kind/data" "$at/copies" 2
    measure "$kind plain" 'bag create, to a tar' "$STRONGROOM" bag create "$folder/$kind/data" \
      --tar "$at/made.tar" --algorithm md5 --algorithm sha256
    [ "$kind" = small ] || rm -rf "$at"
  done
done
rm -rf "$work" "$copy"

$have_bagit || echo "bagit-python is not there: run tools/test once, or set STRONGROOM_TEST_PYTHON"
$have_rocfl || echo "rocfl is not on PATH: its rows are missing"

"$python" - "$results" "$mib" "$files" "$kib" <<'PY'
import statistics, sys
mib, files, kib = map(int, sys.argv[2:])
rows = {}
for line in open(sys.argv[1]):
    input_, what, seconds, peak, outcome = line.rstrip("\n").split("\t")
    row = rows.setdefault((input_, what), [[], 0, "ok"])
    row[0].append(float(seconds))
    row[1] = max(row[1], int(peak))
    if outcome != "ok":
        row[2] = outcome
print(f"\n{'input':14}{'what':28}{'best s':>8}{'median':>8}{'MB/s':>7}{'files/s':>9}{'peak MiB':>10}"
      "  ratio to each peer and limit, round by round (median)")
limits = {what: rates for (input_, what), (rates, *_) in rows.items() if input_ == "limit"}
rows = {key: row for key, row in rows.items() if key[0] != "limit"}
for (input_, what), (seconds, peak, outcome) in rows.items():
    size, count = (mib << 20, 1) if input_.startswith("large") else (files * kib << 10, files)
    notes = []
    for (i, w), peer in rows.items():
        if i == input_ and w.startswith(what + ":"):
            ratio = statistics.median(p / s for p, s in zip(peer[0], seconds))
            notes.append(f"{w.split(': ')[1]} {ratio:.2f} x")
    if what in ("validate", "deposit"):
        kind, form = input_.split()
        name = "sha256" if form == "plain" else "md5"
        rates = limits[f"{kind} {name}"]
        notes.append(f"{name} {statistics.median(size / s / r for s, r in zip(seconds, rates)):.0%}")
    note = ", ".join(notes) if outcome == "ok" else f"FAILED: {outcome}"
    best = min(seconds)
    print(f"{input_:14}{what:28}{best:8.2f}{statistics.median(seconds):8.2f}{size / best / 1e6:7.0f}"
          f"{count / best:9.0f}{peak / 1024:10.0f}  {note}")
sys.exit(any(v[2] != "ok" for v in rows.values()))
PY
