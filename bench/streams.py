"""Unpacking compressed images against rapidgzip and lbzip2.

rapidgzip writes every zero, as its users have to take it; both write a new file each time.
"""

import subprocess

from abbild import BINARY, CACHE, environment, fixture
from measure import medians, say, writing

RAPIDGZIP = "rapidgzip==0.16.2"
# The example that only unpacks, built by `make bench`.
DECODE = BINARY.parent / "examples/decode"
# Name, and the command that packs its last argument to standard output.
PACKERS = {
    "gzip -1": ["gzip", "-1", "-c"],
    "gzip -9": ["gzip", "-9", "-c"],
    "pigz": ["pigz", "-c"],
}


def rapidgzip():
    """rapidgzip's program."""
    return environment("rapidgzip-venv", [RAPIDGZIP]) / "rapidgzip"


def sources():
    """The raw Debian image as different programs pack it."""
    home = CACHE / "abbild/bench"
    home.mkdir(parents=True, exist_ok=True)
    raw = home / "debian-12.raw"
    image = fixture("debian-12.qcow2")
    if not raw.exists():
        subprocess.run(["qemu-img", "convert", "-O", "raw", image, raw], check=True)
    for name, command in PACKERS.items():
        path = home / f"{name.replace(' ', '')}.raw.gz"
        if not path.exists() or path.stat().st_mtime < image.stat().st_mtime:
            say(f"making {path}")
            part = path.with_suffix(".part")
            with open(part, "wb") as file:
                subprocess.run([*command, raw], stdout=file, check=True)
            part.rename(path)
        yield name, path


def gzip_rows(base):
    ours, peer = base / "ours.raw", base / "peer.raw"
    for name, path in sources():
        say(f"streams {name} …")
        elapsed, other = medians(
            writing(ours, [DECODE, path, ours]),
            writing(peer, [rapidgzip(), "-d", "-o", peer, path]),
        )
        yield (
            f"raw.gz by {name}, unpacked", f"{elapsed:.2f} s", f"rapidgzip -d -o {other:.2f} s",
            f"{elapsed / other:.2f} of its time (target 0.7)", elapsed <= 0.7 * other,
        )  # fmt: skip


def bzip2_rows(base):
    path = fixture("debian-12.qcow2.bz2")
    ours, peer = base / "ours.qcow2", base / "peer.qcow2"

    lbzip2 = ["sh", "-c", 'exec lbzip2 -dc "$1" > "$2"', "sh", path, peer]
    say("streams bzip2 …")
    elapsed, other = medians(writing(ours, [DECODE, path, ours]), writing(peer, lbzip2))
    yield (
        "qcow2.bz2, unpacked", f"{elapsed:.2f} s", f"lbzip2 {other:.2f} s",
        f"{elapsed / other:.2f} of its time (target 1.05)", elapsed <= 1.05 * other,
    )  # fmt: skip


def rows(base):
    yield from gzip_rows(base)
    yield from bzip2_rows(base)
