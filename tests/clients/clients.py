"""What the tests of other people's clients share: the clients themselves, installed in the cache
directory, and a service that takes small disks without an operating system.

Run as a program it installs everything and prints the path of the Python that has the libraries.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from abbild import (
    ALL_WELCOME,
    CACHE,
    NO_RATE_LIMIT,
    ServiceTestCase,
    environment,
    partition_table,
    wait_for,
)

HERE = Path(__file__).resolve().parent
PYTHON = [
    "pydo==0.44.0",
    "apache-libcloud==3.9.1",
    "paramiko==3.5.1",  # the last that has what this libcloud names
    "schemathesis==4.32.5",
    "tuspy==1.1.0",
]
NODE = CACHE / "abbild" / "clients-node"

KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKRIfHhx7irOOW813Mw0Ua82TJ/3x74mXrn7VEpnn7wF a@b"
)
FINGERPRINT = "04:e0:f8:2c:1b:cd:ce:34:32:bc:54:d5:94:4a:7c:4e"
SIZE = "s-1vcpu-512mb-10gb"


def install_node():
    """The npm packages that package.json and its lock file name."""
    complete = NODE / "complete"
    wanted = (HERE / "package-lock.json").read_text()
    if not complete.exists() or complete.read_text() != wanted:
        print(f"installing dots-wrapper and tus-js-client into {NODE}", file=sys.stderr, flush=True)
        NODE.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            (NODE / name).write_text((HERE / name).read_text())
        subprocess.run(
            ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=NODE,
            check=True,
        )
        complete.write_text(wanted)


def raw_disk(mib, mark):
    """A raw disk with one MBR partition that begins with `mark`."""
    disk = bytearray(mib << 20)
    disk[:512] = partition_table(len(disk))
    disk[1 << 20 : (1 << 20) + len(mark)] = mark
    return bytes(disk)


class ClientTestCase(ServiceTestCase):
    """A service that other people's clients talk to."""

    settings = NO_RATE_LIMIT + ALL_WELCOME
    # There is nobody in the guests who could answer.
    vm = "shutdown_grace_seconds = 1"

    def upload(self, content):
        """Sends `content` with the command line's own protocol client; returns the image's id."""
        path = self.base / "disk.raw"
        path.write_bytes(content)
        answer = self.customer.json(
            "image", "upload", path, "--name", "disk", "--region", "hal1", "--no-check"
        )
        return answer["id"]

    def node(self, script, *arguments):
        """Runs a script with the npm packages and returns the JSON that it prints."""
        done = subprocess.run(
            ["node", HERE / script, self.service.url, self.service.token, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "NODE_PATH": str(NODE / "node_modules")},
        )
        if done.returncode:
            raise AssertionError(f"{script}: {done.stdout}\n{done.stderr}")
        return json.loads(done.stdout)

    @staticmethod
    def wait_for(what, condition):
        return wait_for(what, condition, 120)


if __name__ == "__main__":
    install_node()
    print(environment("clients-venv", PYTHON) / "python")
