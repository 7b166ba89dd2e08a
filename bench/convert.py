"""`abbild convert` against `qemu-img convert` and `zstd`, from every format.

All read the same image from memory.
"""

import os
import subprocess

from abbild import BINARY, CACHE, fixture, partition_table
from measure import medians, say, writing

CLUSTER = 65536
GIB = 1 << 30
# Name, and what `qemu-img convert` is told to make it.
SOURCES = {
    "raw": ["-O", "raw"],
    "qcow2": ["-O", "qcow2"],
    "zstd.qcow2": ["-O", "qcow2", "-c", "-o", "compression_type=zstd"],
    "vhdx": ["-O", "vhdx"],
    "vdi": ["-O", "vdi"],
    "vmdk": ["-O", "vmdk"],
    "stream.vmdk": ["-O", "vmdk", "-o", "subformat=streamOptimized"],
}
ZSTD_QCOW2 = ["-c", "-O", "qcow2", "-o", "compression_type=zstd"]


def sources():
    """The Debian image in each format, and its clusters that are not zero, one after another."""
    home = CACHE / "abbild/bench"
    home.mkdir(parents=True, exist_ok=True)
    image = fixture("debian-12.qcow2")
    made = {name: home / f"debian-12.{name}" for name in [*SOURCES, "clusters"]}
    for name, path in made.items():
        if path.exists() and path.stat().st_mtime >= image.stat().st_mtime:
            continue
        say(f"making {path}")
        part = path.with_suffix(".part")
        if name == "clusters":
            write_clusters(made["raw"], part)
        else:
            subprocess.run(["qemu-img", "convert", *SOURCES[name], image, part], check=True)
        part.rename(path)
    return made


def write_clusters(raw, out):
    zeros = bytes(CLUSTER)
    with open(raw, "rb") as source, open(out, "wb") as target:
        while cluster := source.read(CLUSTER):
            if cluster != zeros[: len(cluster)]:
                target.write(cluster)


def canonical(name, source, clusters, base):
    """To zstd qcow2. Ours is flushed to the disk, the peers' files are not."""
    ours, peer, packed = base / "ours.qcow2", base / "peer.qcow2", base / "zst"
    elapsed, qemu, zstd = medians(
        writing(ours, [BINARY, "convert", source, ours, "--compress"]),
        writing(peer, ["qemu-img", "convert", *ZSTD_QCOW2, source, peer]),
        writing(packed, ["zstd", "-q", "-3", "-T2", clusters, "-o", packed]),
    )
    size = ours.stat().st_size / peer.stat().st_size
    yield (
        f"{name} to zstd qcow2", f"{elapsed:.2f} s", f"qemu-img convert -c, zstd {qemu:.2f} s",
        f"{qemu / elapsed:.2f}x (target 1.8x), {size:.3f} of its size",
        qemu / elapsed >= 1.8 and size <= 1,
    )  # fmt: skip
    yield (
        f"{name} to zstd qcow2", f"{elapsed:.2f} s", f"zstd -3 -T2 {zstd:.2f} s",
        f"{elapsed / zstd:.2f} of its time (target 1.25)", elapsed <= 1.25 * zstd,
    )  # fmt: skip
    for path in (ours, peer, packed):
        path.unlink()


def raw(name, source, base):
    """To raw, both with and both without waiting for the disk."""
    ours, peer = base / "ours.raw", base / "peer.raw"
    convert = [BINARY, "convert", source, ours]
    qemu = ["qemu-img", "convert", "-O", "raw", source, peer]
    fast, peer_fast, durable, peer_durable = medians(
        writing(ours, [*convert, "--no-sync"]),
        writing(peer, qemu),
        writing(ours, convert),
        writing(peer, [*qemu[:2], "-t", "writeback", *qemu[2:]]),
    )
    for what, elapsed, other in (
        ("not flushed", fast, peer_fast),
        ("flushed", durable, peer_durable),
    ):
        yield (
            f"{name} to raw, {what}", f"{elapsed:.2f} s", f"qemu-img convert {other:.2f} s",
            f"{other / elapsed:.2f}x (target 1x)", other >= elapsed,
        )  # fmt: skip
    for path in (ours, peer):
        path.unlink()


def memory(base):
    """The most memory that converting a sparse disk of 100 GiB takes, to every format.

    Never less than this program itself has, which the kernel counts for its children, too.
    """
    source, out = base / "sparse.raw", base / "out"
    with open(source, "wb") as file:
        file.truncate(100 * GIB)
        # Without which this would be no disk.
        file.write(partition_table(100 * GIB))
        for place in range(1, 100):
            file.seek(place * GIB)
            file.write(os.urandom(CLUSTER))
    for kind in ("raw", "qcow2", "qcow2 --compress", "vhdx", "vdi", "vmdk", "vmdk --compress"):
        name, *options = kind.split()
        out.unlink(missing_ok=True)
        child = subprocess.Popen(
            [BINARY, "convert", source, out, "-O", name, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(child.pid, 0)
        if status:
            raise AssertionError(f"converting to {kind}: status {status}")
        peak = usage.ru_maxrss / 1024
        yield (
            f"peak memory, 100 GiB raw to {kind}", f"{peak:.0f} MiB", "target: 256 MiB", "",
            peak <= 256,
        )  # fmt: skip
    source.unlink()
    out.unlink()


def rows(base):
    made = sources()
    clusters = made.pop("clusters")
    for name, source in made.items():
        say(f"convert {name} …")
        try:
            yield from canonical(name, source, clusters, base)
            yield from raw(name, source, base)
        except subprocess.CalledProcessError as error:
            yield f"{name}", "failed", str(error.cmd[0]), f"status {error.returncode}", False
    say("memory …")
    yield from memory(base)
