"""Two independent readers and ours on every real guest, fact by fact."""

import os
import unittest

import readers
from abbild import fixture, index

# The same disk in another wrapping shows nothing new.
SAME_DISK = ["raw-gz", "v2", "zlib", "zstd", "bz2"]
READERS = {"dissect": readers.dissect, "virt-inspector": readers.virt_inspector}

# Reader, image (`*`: all) and fact (empty: it gives up), and who is right. A fact that we leave out, because nothing can
# be read there, needs no entry. One that agrees after all makes the test fail, so the list is true.
DISAGREEMENTS = {
    ("dissect", "*", "partitions"): (
        "we: a GPT entry names its last sector, which belongs to the partition (UEFI 2.10, table "
        "5-6); dissect's lengths are one sector short, those of an MBR are not"
    ),
    ("dissect", "os-release-loop", ""): (
        "we: a link that leads nowhere is no reason not to look at the rest; dissect raises "
        "SymlinkRecursionError"
    ),
    ("dissect", "ext4-many-features", "mounts"): "we: dissect.extfs does not read bigalloc",
    ("dissect", "ext4-many-features", "packages"): "we: dissect.extfs does not read bigalloc",
    ("dissect", "lvm", ""): (
        "we: the guest boots from it; dissect stumbles over what LVM 2.03.16 itself wrote"
    ),
    ("dissect", "sectors-4k", "mounts"): "we: the guest boots; dissect assumes sectors of 512 bytes",
    ("dissect", "sectors-4k", "packages"): "we: as before",
    ("virt-inspector", "os-release-loop", ""): (
        "we: as for dissect; virt-inspector detects no operating system"
    ),
}


def wanted():
    """The images to compare."""
    names = os.environ.get("IMAGES", "").split()
    return [
        image
        for image in index()
        if image["name"] not in SAME_DISK and (not names or image["name"] in names)
    ]


def same(fact, mine, other):
    """Whether two claims say the same, as far as both say something."""
    if fact == "packages":
        return mine.keys() == other.keys() and all(
            version is None or version == upstream(other[name]) for name, version in mine.items()
        )
    if fact == "root" and other == "ext":
        return mine in ("ext2", "ext3", "ext4")
    if fact == "filesystems":
        return all(mine.get(number) == claim for number, claim in other.items())
    if fact == "version":
        # Of Debian's point releases only /etc/debian_version tells.
        return mine.split(".")[0] == other.split(".")[0]
    return mine == other


def upstream(version):
    """The upstream part of a Debian version: without epoch and revision."""
    return version.split(":")[-1].rsplit("-", 1)[0]


class Readers(unittest.TestCase):
    maxDiff = None

    def compare(self, name):
        met = set()
        for image in wanted():
            path = fixture(image["file"])
            mine = readers.ours(path)
            try:
                other = READERS[name](path, image.get("sector_size", 512))
            except readers.CannotRead as error:
                other = {"": str(error)}
                mine[""] = ""
            for fact in sorted(mine.keys() & other.keys()):
                if None in (mine[fact], other[fact]) or same(fact, mine[fact], other[fact]):
                    continue
                keys = [(name, which, fact) for which in (image["name"], "*")]
                known = [key for key in keys if key in DISAGREEMENTS]
                met.update(known)
                with self.subTest(reader=name, image=image["name"], fact=fact):
                    self.assertTrue(known, f"\nwe:   {mine[fact]}\nthey: {other[fact]}")
        if not os.environ.get("IMAGES"):
            listed = {key for key in DISAGREEMENTS if key[0] == name}
            self.assertEqual(listed, met, "disagreements that are listed and those met")

    def test_dissect_agrees(self):
        self.compare("dissect")

    def test_virt_inspector_agrees(self):
        self.compare("virt-inspector")


if __name__ == "__main__":
    unittest.main()
