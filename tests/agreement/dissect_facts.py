"""What dissect.target sees in a disk image, as JSON. Runs in the environment of readers.py."""

import json
import logging
import sys

from dissect.target import Target

PACKAGES = ("cloud-init", "openssh-server")


def main():
    logging.disable(logging.CRITICAL)
    target = Target.open(sys.argv[1])
    table = target.disks[0].vs
    root = target.fs.mounts.get("/")
    packages = {}
    if target.has_function("dpkg.status"):
        for package in target.dpkg.status():
            if package.name in PACKAGES and package.status == "install ok installed":
                packages[package.name] = package.version
    facts = {
        "version": target.version,
        "architecture": target.architecture,
        "root": root and root.__type__,
        "mounts": sorted(path for path in target.fs.mounts if not path.startswith("/$")),
        "partitions": {v.number: [v.offset, v.size] for v in table.volumes} if table else {},
        "packages": packages,
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
