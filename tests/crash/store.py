"""What keeps the images: directories of the one process, or buckets of an S3 server whose answers can be
made to fail."""

import json
import os
import subprocess
from pathlib import Path

from abbild import BINARY, ROOT
from customer import REGIONS

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


class Directories:
    """Below the data directory of the service."""

    settings = ""
    # How long an image may stay that nothing needs.
    removal_seconds = 60

    def __init__(self, service):
        self.service = service

    def images(self, region):
        """The files that hold the images of a region."""
        return list((self.service.data / "regions" / region / "images").iterdir())


class Buckets:
    """The S3 server of the service's own tests (`crates/service/examples/s3.rs`)."""

    # A removal that was interrupted keeps others waiting for two minutes.
    removal_seconds = 240

    def __init__(self):
        program = next(
            (p for p in (BINARY.parent / "examples/s3", TARGET / "debug/examples/s3") if p.exists()),
            None,
        )
        if program is None:
            raise AssertionError("`cargo build --workspace --example s3` makes the S3 server")
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([program], stdin=pipe, stdout=pipe, text=True)
        self.buckets = json.loads(self.process.stdout.readline())
        self.settings = "".join(
            f'[[regions]]\nslug = "{region}"\nname = "{region}"\n'
            f"[regions.s3]\n{self.buckets[region]['settings']}"
            for region in REGIONS
        )

    def images(self, region):
        """The objects of a bucket."""
        directory = Path(self.buckets[region]["directory"]) / "images"
        return [path for path in directory.glob("*") if not path.name.startswith(".")]

    def mood(self, mood):
        """`well`, `erring` or `stalling`."""
        print(mood, file=self.process.stdin, flush=True)

    def stop(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
