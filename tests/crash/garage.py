"""Garage: an S3 server that operators really run, on one node, with a bucket for each region."""

import hashlib
import os
import re
import secrets
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from urllib.parse import quote

from abbild import free_port, wait_for
from customer import REGIONS

PROGRAM = os.environ.get("ABBILD_GARAGE")
NAME = "garage"
# SHA-256 of an empty body, which Garage wants to be told and curl does not say.
NOTHING = hashlib.sha256(b"").hexdigest()
CONFIG = """
metadata_dir = "{base}/meta"
data_dir = "{base}/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:{rpc}"
rpc_public_addr = "127.0.0.1:{rpc}"
rpc_secret = "{secret}"
[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:{s3}"
"""
REGION = """[[regions]]
slug = "{name}"
name = "{name}"
[regions.s3]
endpoint = "{endpoint}"
bucket = "{name}"
region = "garage"
access_key_id = "{key}"
secret_access_key = "{secret}"
"""


class Garage:
    """The server, and what is in its buckets."""

    # A removal that was interrupted keeps others waiting for two minutes.
    removal_seconds = 240

    def __init__(self, base):
        self.base = base / NAME
        self.base.mkdir()
        self.copies = self.base / "copies"
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        self.config = self.base / "garage.toml"
        config = CONFIG.format(
            base=self.base, rpc=free_port(), s3=port, secret=secrets.token_hex(32)
        )
        self.config.write_text(config)
        self.log = (self.base / "log").open("w")
        self.process = subprocess.Popen(
            [PROGRAM, "-c", self.config, "server"], stdout=self.log, stderr=self.log
        )
        wait_for("Garage to start", lambda: self.command("status", check=False), 60, 0.5)
        self.lay_out()
        self.settings = "".join(
            REGION.format(name=name, endpoint=self.endpoint, key=self.key, secret=self.secret)
            for name in REGIONS
        )

    def command(self, *arguments, check=True):
        """What a command of Garage prints; nothing when it fails and may."""
        done = subprocess.run(
            [PROGRAM, "-c", self.config, *arguments], capture_output=True, text=True
        )
        if done.returncode != 0 and check:
            raise AssertionError(f"garage {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout if done.returncode == 0 else ""

    def lay_out(self):
        node = self.command("node", "id", "-q").split("@")[0]
        self.command("layout", "assign", "-z", "here", "-c", "10G", node)
        self.command("layout", "apply", "--version", "1")
        made = self.command("key", "create", NAME)
        self.key = re.search(r"\bGK[0-9a-f]{24}\b", made).group()
        self.secret = re.search(r"\b[0-9a-f]{64}\b", made).group()
        for name in REGIONS:
            self.command("bucket", "create", name)
            self.command("bucket", "allow", "--read", "--write", name, "--key", NAME)

    def get(self, path):
        """The body of a signed GET."""
        command = [
            "curl", "--fail", "--silent", "--show-error", "--aws-sigv4", "aws:amz:garage:s3",
            "--user", f"{self.key}:{self.secret}", "--header", f"x-amz-content-sha256: {NOTHING}",
            f"{self.endpoint}/{path}",
        ]  # fmt: skip
        return subprocess.run(command, check=True, capture_output=True).stdout

    def images(self, region):
        """The objects of a bucket, as files: an object is fetched once, for none ever changes."""
        query = f"list-type=2&max-keys=1000&prefix={quote('images/', safe='')}"
        found = ElementTree.fromstring(self.get(f"{region}?{query}"))
        space = found.tag.partition("}")[0] + "}"
        if found.findtext(f"{space}IsTruncated") == "true":
            raise AssertionError(f"more than 1000 objects in {region}")
        keys = [key.text for key in found.iter(f"{space}Key")]
        directory = self.copies / region
        kept = {directory / key.removeprefix("images/") for key in keys}
        directory.mkdir(parents=True, exist_ok=True)
        for path in set(directory.iterdir()) - kept:
            path.unlink()
        for path in kept:
            if not path.exists():
                path.write_bytes(self.get(f"{region}/images/{path.name}"))
        return sorted(kept)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.base, ignore_errors=True)
