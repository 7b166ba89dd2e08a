"""The verdict on an image, in every format, against other readers of guests."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from abbild import BINARY, ROOT, fixture
from measure import alternate, say, seconds

sys.path.insert(0, str(ROOT / "tests/agreement"))

import readers  # noqa: E402

FORMATS = ["qcow2", "raw", "vhdx", "vdi", "vmdk"]


def best(image):
    """The best of twenty runs: what a check takes when nothing else does."""
    return min(seconds([BINARY, "check", image]) for _ in range(20))


def bytes_read(image):
    """How many bytes of the image file a check reads."""
    with tempfile.NamedTemporaryFile("r") as trace:
        calls = "trace=read,readv,pread64,preadv,preadv2,mmap"
        subprocess.run(
            ["strace", "-f", "-qq", "-e", calls, "-P", image, "-o", trace.name, BINARY, "check", image],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        text = trace.read()
    if "mmap(" in text:
        raise AssertionError("the file is mapped, so that its reads cannot be counted")
    return sum(int(count) for count in re.findall(r"\) += (\d+)$", text, re.MULTILINE))


def rows(base):
    original = fixture("debian-12.qcow2")
    for name in FORMATS:
        image = original
        if name != "qcow2":
            image = base / f"debian-12.{name}"
            subprocess.run(["qemu-img", "convert", "-O", name, original, image], check=True)
        ours = best(image)
        yield f"check, {name}", f"{ours * 1000:.1f} ms", "target: 20 ms", "", ours <= 0.020
        # Holes are no part of what there is to read.
        stored = os.stat(image).st_blocks * 512
        read = bytes_read(image)
        yield (
            f"bytes a check reads, {name}", f"{read / 2**20:.1f} MiB",
            f"the file has {stored / 2**20:.0f} MiB",
            f"{read / stored:.2%} (target 2%)", read <= stored * 0.02,
        )  # fmt: skip
        if image != original:
            Path(image).unlink()
    yield from against_peers(original)


def against_peers(image):
    """Whole processes, each asked for the operating system at least."""
    program = readers.dissect_programs() / "target-query"
    quiet = {"stderr": subprocess.DEVNULL}
    ours, dissect = alternate(
        lambda: best(image),
        lambda: seconds([program, "-q", "-f", "os,version", image], **quiet),
    )
    say("virt-inspector …")
    again, inspector = alternate(
        lambda: best(image),
        lambda: seconds(
            ["virt-inspector", "--no-applications", "--no-icon", "-a", image],
            env={**os.environ, **readers.LIBGUESTFS},
        ),
        rounds=1,
    )
    for name, mine, other, target in [
        ("dissect.target", ours, dissect, 100),
        ("virt-inspector", again, inspector, 1000),
    ]:
        yield (
            "check, debian-12.qcow2", f"{mine * 1000:.1f} ms", f"{name} {other:.2f} s",
            f"{other / mine:.0f}x (target {target}x)", other / mine >= target,
        )  # fmt: skip
