"""The readers of disk images that are compared: ours and two independent ones.

Each function takes the path of an image and returns what that reader claims, under the same keys.
The others are told how large its sectors are, if they can be told; we find out.

`id`, `version`  the operating system, as os-release has it
`architecture`   as `uname -m` has it
`root`           kind of the root filesystem
`mounts`         mount points of the filesystems in the image
`partitions`     number to offset and length in bytes
`filesystems`    number of a partition to kind and UUID of what is on it
`packages`       name to version, of cloud-init and openssh-server

What a reader says nothing about is left out.
"""

import json
import os
import re
import subprocess
import xml.etree.ElementTree
from pathlib import Path

from abbild import BINARY, environment

HERE = Path(__file__).resolve().parent
# The first alone knows neither the filesystems of Linux nor zstd.
DISSECT = [
    "dissect.target==3.25.1",
    "dissect.extfs==3.15",
    "dissect.xfs==3.13",
    "dissect.fat==3.13",
    "backports.zstd==1.8.0",
]
# One processor emulates another, because the machine's own may be out of order or out of reach.
LIBGUESTFS = {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}
PACKAGES = ("cloud-init", "openssh-server")


class CannotRead(Exception):
    """A reader gives up on an image."""


def dissect_programs():
    """Where dissect.target's programs lie."""
    return environment("dissect-venv", DISSECT)


def ours(path):
    done = subprocess.run(
        [BINARY, "check", path, "--json"], capture_output=True, text=True, timeout=600
    )
    if done.returncode not in (0, 1):
        raise AssertionError(f"abbild check {path}: {done.stderr}")
    facts = json.loads(done.stdout)["facts"]
    partitions = facts["partition_table"]["partitions"]
    found = {
        "partitions": {p["number"]: [p["offset"], p["length"]] for p in partitions},
        "filesystems": {
            p["number"]: [p["filesystem"]["kind"], p["filesystem"]["uuid"]]
            for p in partitions
            if p["filesystem"]
        },
    }
    if root := facts["root"]:
        found["root"] = root["filesystem"]
        if root["readable"]:
            found["mounts"] = sorted(["/", *(m["path"] for m in facts["mounts"])])
            found["packages"] = packages_of(facts)
    if os_facts := facts["os"]:
        found["id"] = os_facts["id"]
        found["version"] = os_facts["version"]
    if architecture := facts["architecture"]:
        found["architecture"] = architecture["value"]
    return found


def packages_of(facts):
    """We tell the upstream version of cloud-init, and of the SSH server only that it is there."""
    packages = {}
    if facts["cloud_init"]["installed"]:
        version = facts["cloud_init"]["version"]
        packages["cloud-init"] = version and version["value"]
    if facts["sshd"]["server"]:
        packages["openssh-server"] = None
    return packages


def dissect(path, _sector_size):
    done = subprocess.run(
        [dissect_programs() / "python", "-I", HERE / "dissect_facts.py", path],
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode:
        raise CannotRead(f"dissect.target on {path}: {done.stderr}")
    facts = json.loads(done.stdout)
    facts["partitions"] = {int(number): place for number, place in facts["partitions"].items()}
    if name := facts.pop("version"):
        # It gives os-release's PRETTY_NAME: `Debian GNU/Linux 12 (bookworm)`.
        facts["id"] = name.split()[0].lower()
        facts["version"] = re.search(r"\d[\d.]*", name).group()
    if architecture := facts.pop("architecture"):
        facts["architecture"] = architecture.removesuffix("-linux")
    return facts


def virt_inspector(path, sector_size):
    done = subprocess.run(
        ["virt-inspector", "--no-icon", f"--blocksize={sector_size}", "-a", path],
        capture_output=True,
        text=True,
        timeout=1800,
        env={**os.environ, **LIBGUESTFS},
    )
    if done.returncode:
        raise CannotRead(f"virt-inspector on {path}: {done.stderr}")
    system = xml.etree.ElementTree.fromstring(done.stdout).find("operatingsystem")
    if system is None:
        return {"packages": {}}
    filesystems, root = {}, system.findtext("root")
    facts = {
        "id": system.findtext("distro"),
        "version": system.findtext("major_version"),
        "architecture": system.findtext("arch"),
        "filesystems": filesystems,
        "mounts": sorted(point.text for point in system.iterfind("mountpoints/mountpoint")),
        "packages": {
            application.findtext("name"): application.findtext("version")
            for application in system.iterfind("applications/application")
            if application.findtext("name") in PACKAGES
        },
    }
    for filesystem in system.iterfind("filesystems/filesystem"):
        device, kind = filesystem.get("dev"), filesystem.findtext("type")
        if device == root:
            facts["root"] = kind
        if partition := re.fullmatch(r"/dev/sda(\d+)", device):
            filesystems[int(partition.group(1))] = [kind, filesystem.findtext("uuid")]
    return facts
