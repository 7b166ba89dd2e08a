#!/usr/bin/env bash
# Times the canonical encoder and the stream decoders against the tools people use for the same
# work, on the same file and in the same run, and prints one row per comparison:
#   | work | peer | peer's seconds | our seconds | ratio | ratio of processor time | note |
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

# Of a command: wall-clock seconds, then processor seconds, which a busy machine disturbs less.
seconds() {
  local TIMEFORMAT='%R %U %S'
  { time "$@" >"$work/out" 2>"$work/err"; } 2>"$work/time" || { cat "$work/err" >&2; return 1; }
  awk '{ printf "%.3f %.3f\n", $1, $2 + $3 }' "$work/time"
}
best() { sort -n -k "$2,$2" "$1" | head -n 1 | cut -d ' ' -f "$2"; }
ratio() { awk -v p="$1" -v o="$2" 'BEGIN { printf "%.2f", p / o }'; }
field() { sed -n "s/.*\b$1=\([0-9a-f.]*\).*/\1/p" "$work/out"; }

# row WORK PEER_NAME PEER_FUNCTION OUR_FUNCTION NOTE_FUNCTION; the last describes our last run
row() {
  local peer=$work/peer.times ours=$work/our.times
  : >"$peer"; : >"$ours"
  for _ in $(seq "$rounds"); do
    seconds "$3" >>"$peer"
    seconds "$4" >>"$ours"
  done
  printf '| %s | %s | %s | %s | %s× | %s× | %s |\n' "$1" "$2" "$(best "$peer" 1)" \
    "$(best "$ours" 1)" "$(ratio "$(best "$peer" 1)" "$(best "$ours" 1)")" \
    "$(ratio "$(best "$peer" 2)" "$(best "$ours" 2)")" "$("$5")"
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
