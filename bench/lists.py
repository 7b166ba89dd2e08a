"""Lists: how long a page takes when an account has a hundred thousand images.

One image is really imported; the others are copies of its rows, so each has the report of a real guest.
"""

import http.client
import random
import sqlite3
import statistics
import time

from abbild import NO_RATE_LIMIT, Service, fixture
from api import Api
from measure import say

IMAGES = 100_000
REQUESTS = 500
TARGET = 0.020


def multiply(database):
    """Copies the one image of a database that no service is using."""
    connection = sqlite3.connect(database)
    columns = [row[1] for row in connection.execute("PRAGMA table_info(images)")]
    copied = [column for column in columns if column not in ("id", "name", "upload_id")]
    names = ", ".join(copied)
    with connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            f" INSERT INTO images (name, {names}) SELECT 'image-' || i, {names} FROM n, images",
            (IMAGES,),
        )
        connection.execute(
            "INSERT INTO image_regions (image_id, region, status)"
            " SELECT i.id, r.region, r.status FROM images i, image_regions r"
            " WHERE i.id <> r.image_id"
        )
    connection.close()


def pages(service, per_page):
    """The seconds that random pages of the list take."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port)
    headers = {"Authorization": f"Bearer {service.token}"}
    taken = []
    for _ in range(REQUESTS):
        page = random.randrange(IMAGES // per_page) + 1
        begun = time.perf_counter()
        path = f"/v2/images?private=true&page={page}&per_page={per_page}"
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        taken.append(time.perf_counter() - begun)
        if answer.status != 200 or content.count(b'"created_at"') != per_page:
            raise AssertionError(f"{path}: {answer.status} {content[:300]}")
    return taken


def rows(base):
    say(f"lists, {IMAGES} images …")
    service = Service(base, NO_RATE_LIMIT)
    service.start()
    try:
        yield from measure(service)
    finally:
        service.stop()


def measure(service):
    api = Api(service)
    api.import_image(api.upload(fixture("debian-12.qcow2")), "image-1")
    service.stop()
    multiply(service.data / "abbild.db")
    begun = time.perf_counter()
    service.start()
    say(f"started in {time.perf_counter() - begun:.1f} s")
    for per_page in (20, 200):
        taken = pages(service, per_page)
        p50, p99 = statistics.median(taken), statistics.quantiles(taken, n=100)[98]
        yield (
            f"page of {per_page} of {IMAGES} images, p99", f"{p99 * 1000:.1f} ms",
            f"target: {TARGET * 1000:.0f} ms", f"p50 {p50 * 1000:.1f} ms", p99 <= TARGET,
        )  # fmt: skip
