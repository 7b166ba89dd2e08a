"""Customers that never give up: they use the service while it is killed again and again, and
remember everything that it acknowledged."""

import http.client
import json
import random
import threading
import time
import uuid
from urllib.parse import urlsplit

from abbild import partition_table

REGIONS = ("hal1", "nbg1")
# Longer than any restart takes.
PATIENCE_SECONDS = 120


class Broken(AssertionError):
    """The service did not keep a promise."""


def disk(number):
    """A raw disk with one partition, the same for the same number. Some of it is noise, so that
    images have megabytes of their own to be stored and copied."""
    noise = random.Random(number)
    disk = bytearray((3 + number % 3) << 20)
    disk[:512] = partition_table(len(disk))
    disk[1 << 20 : 2 << 20] = noise.randbytes(1 << 20)
    return bytes(disk)


class Api:
    """Requests to a service that may be away, each to any of its processes."""

    def __init__(self, *services):
        self.services = services

    def once(self, method, path, headers=None, body=None):
        """One attempt. OSError and HTTPException mean that nobody knows what became of it."""
        service = random.choice(self.services)
        connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=60)
        try:
            headers = {"Authorization": f"Bearer {service.token}", **(headers or {})}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def sure(self, method, path, headers=None, body=None):
        """Asks until there is an answer that is no failure of the service."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                status, fields, content = self.once(method, path, headers, body)
                if status < 500 and status != 429:
                    return status, fields, content
                reason = f"{status} {content[:300]!r}"
            except (OSError, http.client.HTTPException) as error:
                reason = repr(error)
            if time.monotonic() > deadline:
                raise Broken(f"{method} {path} found no answer: {reason}")
            time.sleep(0.05)

    def get(self, path):
        status, _, content = self.sure("GET", path)
        return json.loads(content) if status == 200 else None

    def pages(self, path, key):
        """Every element of a list."""
        found, page = [], 1
        while True:
            answer = self.get(f"{path}?per_page=200&page={page}")
            found += answer[key]
            if len(found) >= answer["meta"]["total"] or not answer[key]:
                return found
            page += 1


class Customer(threading.Thread):
    """Works until `stop` is set, then ends what it is doing."""

    # By number of the disk: the digest that its canonical image must have.
    digests = {}

    def __init__(self, services, seed, stop, source):
        super().__init__(daemon=True)
        self.api = Api(*services)
        self.random = random.Random(seed)
        self.halt = stop
        self.source = source
        self.failure = None
        self.done = {}

    def run(self):
        try:
            while not self.halt.is_set():
                self.work()
        except Exception as error:  # the test shows it
            self.failure = error

    def count(self, what):
        self.done[what] = self.done.get(what, 0) + 1

    def work(self):
        number = self.random.randrange(6)
        if self.random.random() < 0.3:
            image = self.create({"url": f"{self.source}/{number}"})
        else:
            image = self.upload(number)
        if image is None:
            return
        image = self.ended(image)
        if image is None:
            return
        self.check(number, image)
        if image["status"] == "available":
            self.change(image["id"])

    def upload(self, number):
        """Sends a disk in pieces, over all crashes, and makes an image of it before, between or
        after."""
        content = disk(number)
        status, fields, body = self.api.sure(
            "POST", "/v2/uploads", {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(content))}
        )
        if status != 201:
            raise Broken(f"creating an upload: {status} {body!r}")
        path = urlsplit(fields["Location"]).path
        name = path.rsplit("/", 1)[1]
        image, when, acknowledged = None, self.random.randrange(len(content)), 0
        while acknowledged < len(content):
            if image is None and acknowledged >= when:
                image = self.create({"upload": name})
            length = self.random.randrange(64 << 10, 1 << 20)
            piece = content[acknowledged : acknowledged + length]
            received = self.append(path, acknowledged, piece)
            if received is None:
                raise Broken(f"{path} is gone after {acknowledged} bytes were acknowledged")
            acknowledged = received
            if self.random.random() < 0.02:
                self.api.sure("DELETE", path, {"Tus-Resumable": "1.0.0"})
                self.count("uploads given up")
                return image
        self.count("uploads")
        return image or self.create({"upload": name})

    def append(self, path, offset, piece):
        """Sends one piece; returns how many bytes the service says it has, or None when it does
        not know the upload. It may never say less than it did before."""
        headers = {
            "Tus-Resumable": "1.0.0",
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
        }
        try:
            status, fields, _ = self.api.once("PATCH", path, headers, piece)
            if status == 204:
                return int(fields["Upload-Offset"])
        except (OSError, http.client.HTTPException):
            pass
        status, fields, _ = self.api.sure("HEAD", path, {"Tus-Resumable": "1.0.0"})
        if status == 404:
            # The last byte came, was imported, and only the answer was lost.
            return None
        received = int(fields["Upload-Offset"])
        if received < offset:
            raise Broken(f"{path} had {offset} bytes and now has {received}")
        return received

    def create(self, what):
        """Makes an image; returns its id, or None when the request had no lasting effect."""
        name = f"image-{uuid.uuid4()}"
        regions = list(REGIONS) if self.random.random() < 0.3 else [self.random.choice(REGIONS)]
        request = {"name": name, "regions": regions, "region": regions[0], **what}
        headers = {"Content-Type": "application/json", "Idempotency-Key": name}
        status, _, body = self.api.sure("POST", "/v2/images", headers, json.dumps(request))
        if status == 202:
            return json.loads(body)["image"]["id"]
        # It had its effect, and the answer was lost with the process; or it is still at work.
        if status == 409:
            found = self.api.get(f"/v2/images?name={name}")["images"]
            return found[0]["id"] if found else None
        raise Broken(f"creating an image: {status} {body!r}")

    def ended(self, image):
        """The image, once its import has ended."""
        deadline = time.monotonic() + 10 * PATIENCE_SECONDS
        while time.monotonic() < deadline:
            answer = self.api.get(f"/v2/images/{image}")
            if answer is None:
                return None
            if answer["image"]["status"] in ("available", "deleted"):
                return answer["image"]
            if self.random.random() < 0.005:
                self.delete(image)
            time.sleep(0.1)
        raise Broken(f"image {image} did not end: {answer}")

    def check(self, number, image):
        if image["status"] != "available":
            # Deleted by its owner, or failed: then it says why.
            if image["abbild"]["stage"] == "failed" and not image["error_message"]:
                raise Broken(f"no reason: {image}")
            self.count(f"images {image['abbild']['stage']}")
            return
        digest = image["abbild"]["digest"]
        if self.digests.setdefault(number, digest) != digest:
            raise Broken(f"disk {number} is {digest}, and was {self.digests[number]}")
        self.count("images available")

    def change(self, image):
        """What one does with an image: copies it, takes it out of a region, deletes it."""
        for _ in range(self.random.randrange(4)):
            region = self.random.choice(REGIONS)
            if self.random.random() < 0.6:
                headers = {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
                body = json.dumps({"type": "transfer", "region": region})
                self.api.sure("POST", f"/v2/images/{image}/actions", headers, body)
                self.count("transfers")
            else:
                self.api.sure("DELETE", f"/v2/images/{image}/regions/{region}")
                self.count("removals")
            time.sleep(self.random.random())
        if self.random.random() < 0.6:
            self.delete(image)

    def delete(self, image):
        status, _, body = self.api.sure("DELETE", f"/v2/images/{image}")
        if status not in (204, 404, 422):
            raise Broken(f"deleting image {image}: {status} {body!r}")
        self.count("deletions")
