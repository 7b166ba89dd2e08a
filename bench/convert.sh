#!/usr/bin/env bash
# Times the canonical encoder and the stream decoders against the tools people use for the same
# work, on the same file and in the same run, and prints one row per comparison:
#   | work | peer | peer's seconds | our seconds | ratio | note |
# Runs alternate and the best of each side counts. Our times include hashing the result and
# flushing it to disk; the peers do neither.
#
#   bench/convert.sh [IMAGE]        any image; it is first copied to an uncompressed qcow2
#   ROUNDS=5 bench/convert.sh       more rounds (default 3)
set -euo pipefail
cd "$(dirname "$0")/.."

image=${1:-$HOME/.cache/abbild/fixtures/debian-12.qcow2}
rounds=${ROUNDS:-3}
[ -f "$image" ] || { echo "no image at $image: run \`make fixtures\` or name one" >&2; exit 1; }

cargo build --quiet --release -p abbild-convert --examples >&2
bin=${CARGO_TARGET_DIR:-target}/release/examples
work=$(mktemp -d "${TMPDIR:-/tmp}/abbild-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT

seconds() { # command… -> wall-clock seconds
  local start=$EPOCHREALTIME
  "$@" >"$work/out" 2>"$work/err" || { cat "$work/err" >&2; return 1; }
  awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f\n", b - a }'
}
best() { sort -n "$1" | head -n 1; }
field() { sed -n "s/.*\b$1=\([0-9a-f.]*\).*/\1/p" "$work/out"; }

# row WORK PEER_NAME PEER_FUNCTION OUR_FUNCTION; extends with what $note prints after our last run
row() {
  local peer_times=$work/peer.times our_times=$work/our.times
  : >"$peer_times"; : >"$our_times"
  for _ in $(seq "$rounds"); do
    seconds "$3" >>"$peer_times"
    seconds "$4" >>"$our_times"
  done
  printf '| %s | %s | %s | %s | %s× | %s |\n' "$1" "$2" "$(best "$peer_times")" \
    "$(best "$our_times")" \
    "$(awk -v p="$(best "$peer_times")" -v o="$(best "$our_times")" 'BEGIN { printf "%.2f", p / o }')" \
    "$("$5")"
}

peer_encode() { qemu-img convert -c -O qcow2 -o compression_type=zstd "$work/in.qcow2" "$work/peer"; }
our_encode() { "$bin/encode" "$work/in.qcow2" "$work/ours"; }
note_encode() {
  awk -v o="$(field file_size)" -v p="$(stat -c %s "$work/peer")" -v m="$(field peak_kib)" \
    'BEGIN { printf "%.1f MB, %.3f of the peer'\''s size, peak memory %d MiB", o / 1e6, o / p, m / 1024 }'
}
peer_gunzip() { gunzip -c "$work/in.gz" >"$work/peer"; }
our_gunzip() { "$bin/decode" "$work/in.gz" "$work/ours"; }
peer_bunzip2() { bunzip2 -c "$work/in.bz2" >"$work/peer"; }
our_bunzip2() { "$bin/decode" "$work/in.bz2" "$work/ours"; }
note_decode() { printf '%s' "$(awk -v b="$(field bytes)" 'BEGIN { printf "%.0f MB", b / 1e6 }'), sparse"; }

qemu-img convert -O qcow2 "$image" "$work/in.qcow2"
row "qcow2 to canonical qcow2" "qemu-img convert -c, zstd" peer_encode our_encode note_encode
qemu-img compare -q "$work/in.qcow2" "$work/ours"
qemu-img check -q "$work/ours"

qemu-img convert -O raw "$image" "$work/raw"
gzip -1 -c "$work/raw" >"$work/in.gz"
row "raw.gz to sparse file" "gunzip" peer_gunzip our_gunzip note_decode
cmp "$work/raw" "$work/ours"
rm -f "$work/raw" "$work/in.gz"

bzip2 -1 -c "$work/in.qcow2" >"$work/in.bz2"
row "qcow2.bz2 to file" "bunzip2" peer_bunzip2 our_bunzip2 note_decode
cmp "$work/in.qcow2" "$work/ours"
