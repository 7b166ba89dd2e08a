"""Many machines made and deleted at once leave nothing behind: no process, file or address."""

import json
import sqlite3
import time
import unittest
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from abbild import ALL_WELCOME, NO_RATE_LIMIT, ServiceTestCase, qemu_processes, raw_disk, wait_for

# So many at once. Deletions meet machines that are being made, that run, and that are being changed.
WORKERS = 8
SIZE = "s-1vcpu-512mb-10gb"


class Cycles(ServiceTestCase):
    cycles = 100
    # There is nobody in the guests who could answer.
    vm = "shutdown_grace_seconds = 1"
    settings = NO_RATE_LIMIT + """
[quotas]
droplets = 200
vcpus = 200
memory_bytes = "200 GiB"
""" + ALL_WELCOME

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            self.service.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.service.token}"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def cycle(self, number):
        created = self.call(
            "POST",
            "/v2/droplets",
            {"name": f"cycle-{number}", "image": self.number, "region": "hal1", "size": SIZE},
        )
        path = f"/v2/droplets/{created['droplet']['id']}"
        if number % 3:
            wait_for(
                "the machine to run",
                lambda: self.call("GET", path)["droplet"]["status"] == "active",
                300,
            )
        if number % 3 == 2:
            kind = ("shutdown", "power_cycle", "snapshot", "power_off")[number // 3 % 4]
            self.call("POST", f"{path}/actions", {"type": kind})
            time.sleep(number % 5 / 10)
        self.call("DELETE", path)

    def run_through(self, numbers):
        with ThreadPoolExecutor(WORKERS) as pool:
            # `list` raises what a cycle raised.
            list(pool.map(self.cycle, numbers))

    def test_nothing_is_left(self):
        path = self.base / "disk.raw"
        path.write_bytes(raw_disk(4))
        self.number = self.customer.json(
            "image", "upload", path, "--name", "disk", "--region", "hal1", "--no-check"
        )["id"]
        self.run_through(range(self.cycles))

        machines = self.service.data / "regions/hal1/vms"
        wait_for("the machines to go", lambda: not any(machines.iterdir()), 300)
        wait_for("the processes to end", lambda: not qemu_processes(self.base), 30)
        self.assertEqual(self.call("GET", "/v2/droplets")["meta"]["total"], 0)
        with sqlite3.connect(f"file:{self.service.data}/abbild.db?mode=ro", uri=True) as database:
            held = database.execute("SELECT COUNT(*) FROM droplets WHERE on_host = 1")
            self.assertEqual(held.fetchone()[0], 0, "addresses are still held")
            open_ = database.execute("SELECT COUNT(*) FROM actions WHERE status = 'in-progress'")
            self.assertEqual(open_.fetchone()[0], 0)

        for image in self.call("GET", "/v2/images?per_page=200")["images"]:
            self.call("DELETE", f"/v2/images/{image['id']}")
        wait_for("the store to be empty", lambda: not self.service.stored("hal1"), 30)
        self.assertEqual(self.service.leftovers(), [])


if __name__ == "__main__":
    unittest.main()
