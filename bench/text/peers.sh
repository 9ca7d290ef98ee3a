#!/usr/bin/env bash
# Text analysis beside its peers, on the same items, in one run: how good, how fast, ratios.
#
#   bench/text/peers.sh [--rounds 3] [--train-udpipe]
#
# Peers are installed into target/text-peers, nowhere else, from the package registries; they are kept there for the next
# run, and so are models that are trained here. --train-udpipe trains UDPipe 1 on English EWT, which takes half an hour to
# an hour, once. Needs python3 with venv, node with npm, cargo. Environment: STRONGROOM_TEXT_DATA (the data, where they are
# not beside the checkout).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)

usage() { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }

rounds=3 train_udpipe=false
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=${2:?}; shift ;;
    --train-udpipe) train_udpipe=true ;;
    *) usage ;;
  esac
  shift
done
export STRONGROOM_TEXT_DATA=${STRONGROOM_TEXT_DATA:-$repo/../shared/text-data}
target=${CARGO_TARGET_DIR:-$repo/target}
folder=$target/text-peers
mkdir -p "$folder/npm"

echo "-- programs" >&2
(cd "$repo" && cargo build --release --locked -p strongroom-text --bin evaluate) >&2
cargo build --release --locked --manifest-path "$here/peers-rs/Cargo.toml" --target-dir "$target" >&2
cp "$target/release/text-peers" "$folder/text-peers"
[ -d "$folder/venv" ] || python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt" >&2
cp "$here"/npm/* "$folder/npm/"
(cd "$folder/npm" && npm ci --silent --no-audit --no-fund) >&2

echo "-- items" >&2
"$target/release/evaluate" language --write-items "$folder/items" >"$folder/evaluate.txt"
"$target/release/evaluate" sentiment --language en --write-items "$folder/items" >>"$folder/evaluate.txt"
"$target/release/evaluate" tag --language en --write-items "$folder/items" >>"$folder/evaluate.txt"
train=$folder/ewt-train.conllu
gzip -dc "$STRONGROOM_TEXT_DATA/pos/en/ewt-train.conllu.gz" >"$train"

echo "-- training" >&2
peers() { "$folder/venv/bin/python" "$here/peers.py" "$@"; }
[ -f "$folder/nltk-ewt.json" ] || peers train-nltk "$train" "$folder/nltk-ewt.json" >&2
if $train_udpipe && [ ! -f "$folder/udpipe-ewt.model" ]; then
  peers train-udpipe "$train" "$folder/items/tag-en-ewt.conllu" "$folder/udpipe-ewt.model" >&2
fi

"$folder/venv/bin/python" "$here/run.py" "$folder" "$rounds"
