"""SIGKILL at random moments, and the same checker after faults that are no crash."""

import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import uuid
from pathlib import Path

import checker
import garage
import source
from abbild import (
    ALL_WELCOME,
    BINARY,
    NO_RATE_LIMIT,
    Service,
    qemu_processes,
    wait_for,
)
from customer import Customer
from owner import Owner
from proxy import Proxy
from store import Buckets, Directories

# Beginnings of the names of tests; all if empty.
TESTS = os.environ.get("ABBILD_CRASH_TESTS", "").split()
KILLS = int(os.environ.get("ABBILD_CRASH_KILLS", "10"))
SEED = int(os.environ.get("ABBILD_CRASH_SEED") or random.randrange(1 << 32))
# Faults that take longer than a crash.
FAULTS = max(3, KILLS // 10)
CUSTOMERS = 5
# From so many kills on, a run takes the time to wait for leases to run out.
LONG = 50
# As in crates/service/src/db/action.rs.
LEASE_SECONDS = 30

# The guest that tries KVM outlives a service that is killed, and there would soon be hundreds.
os.environ["ABBILD__VM__KVM"] = "false"

# Disks without an operating system are accepted; limits are out of the way.
SETTINGS = f"""
{{database}}
{NO_RATE_LIMIT}staging_reserve = 0
[fetch]
allow = ["127.0.0.0/8"]
{ALL_WELCOME}
{{regions}}
"""


def new_database():
    """The URL of a database of its own on the PostgreSQL server, if there is one."""
    server = os.environ.get("ABBILD_TEST_POSTGRES")
    if not server:
        return None
    name = f"crash_{uuid.uuid4().hex}"
    host, query = server.split("?", 1)
    sql = f"CREATE DATABASE {name}"
    subprocess.run(["psql", "-qX", "-d", f"{host}/postgres?{query}", "-c", sql], check=True)
    return f"{host}/{name}?{query}"


class CrashTest(unittest.TestCase):
    def setUp(self):
        if not BINARY.exists():
            raise AssertionError(f"{BINARY} is missing; `cargo build -p abbild` makes it")
        self.base = Path(tempfile.mkdtemp(prefix="abbild-crash-"))
        self.addCleanup(shutil.rmtree, self.base, ignore_errors=True)
        name = self._testMethodName.removeprefix("test_")
        if TESTS and not name.startswith(tuple(TESTS)):
            self.skipTest("not asked for")
        self.database = new_database()
        if self.database:
            self.buckets = garage.Garage(self.base) if garage.PROGRAM else Buckets()
            self.addCleanup(self.buckets.stop)
        self.begin(self.database)
        self.random = random.Random(SEED)
        Customer.digests, Owner.snapshots = {}, {}

    def begin(self, database):
        self.service = self.new_process(self.base, database)
        self.services = [self.service]
        self.store = self.buckets if database else Directories(self.service)

    def new_process(self, base, database, **options):
        top = [f'database = "{database}"'] if database else []
        if shared := options.pop("shared", None):
            top.append(f'shared = "{shared}"')
        regions = self.buckets.settings if database else ""
        settings = SETTINGS.format(database="\n".join(top), regions=regions)
        # There is nobody in the guests who could answer.
        service = Service(base, settings, vm="shutdown_grace_seconds = 1", **options)
        self.addCleanup(service.stop)
        return service

    def start_customers(self, kind=Customer):
        self.halt = threading.Event()
        url = source.serve()
        self.customers = [
            kind(self.services, SEED + number, self.halt, url) for number in range(CUSTOMERS)
        ]
        for customer in self.customers:
            customer.start()

    def stop_customers(self):
        self.halt.set()
        for customer in self.customers:
            customer.join(timeout=900)
            self.assertFalse(customer.is_alive(), "a customer still waits")
        self.assertEqual([c.failure for c in self.customers if c.failure], [], self.told())

    def kill_while_it_starts(self):
        command = [BINARY, "serve", "--config", self.service.config]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
        time.sleep(self.random.random() * 0.5)
        process.kill()
        process.wait()

    def told(self):
        """For whoever has to find out what happened."""
        logs = [service.log.read_text().splitlines()[-40:] for service in self.services]
        return "\n".join([f"ABBILD_CRASH_SEED={SEED}", *(line for log in logs for line in log)])

    def test_killed_at_random_moments(self):
        self.service.start()
        self.start_customers()
        for _ in range(KILLS):
            time.sleep(self.random.choice((0.05, 0.3, 1, 3)) * self.random.random())
            self.service.kill()
            if self.random.random() < 0.2:
                self.kill_while_it_starts()
            self.service.start()
            if any(customer.failure for customer in self.customers):
                break
        self.finish()

    def test_machines(self):
        """What is done to machines, whose hypervisors live on, is ended by the next process."""
        self.addCleanup(self.end_machines)
        self.service.start()
        self.start_customers(Owner)
        for _ in range(FAULTS):
            # Time for jobs to be in the middle.
            time.sleep(1 + 2 * self.random.random())
            self.service.kill()
            self.service.start()
        self.finish()
        machines = self.service.data.glob("regions/*/vms/*")
        self.assertEqual(list(machines), [], "files of machines are left")
        wait_for("the last QEMU to end", lambda: not qemu_processes(self.base), 10)

    def end_machines(self):
        for process in qemu_processes(self.base):
            os.kill(process, signal.SIGKILL)

    def test_full_disk(self):
        """Somebody else takes all the room, again and again."""
        if os.geteuid() != 0:
            self.skipTest("mounting a small filesystem needs root")
        self.service.data.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", self.service.data]
        if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("a small filesystem cannot be mounted here")
        self.addCleanup(subprocess.run, ["umount", "--lazy", self.service.data])
        self.addCleanup(self.service.stop)
        self.service.start()
        self.start_customers()
        for _ in range(FAULTS):
            time.sleep(2 * self.random.random())
            with (self.service.data / "filler").open("wb") as filler:
                try:
                    while True:
                        filler.write(bytes(1 << 20))
                        filler.flush()
                except OSError:
                    time.sleep(2 * self.random.random())
                    os.truncate(filler.fileno(), 0)
        (self.service.data / "filler").unlink()
        self.finish()

    def test_database_away(self):
        if not self.database:
            self.skipTest("SQLite is always there")
        server = self.database.split("host=")[1]
        proxy = Proxy(self.base, server)
        self.begin(self.database.replace(server, str(self.base)))
        self.service.start()
        self.start_customers()
        for _ in range(FAULTS):
            time.sleep(3 * self.random.random())
            proxy.cut()
            time.sleep(3 * self.random.random())
            proxy.mend()
        self.finish()

    def test_two_processes(self):
        """Either is killed, at any moment, or stops for a while; what it leaves, the other ends."""
        if not self.database:
            self.skipTest("SQLite takes one process")
        self.service.start()
        base = self.base / "second"
        base.mkdir()
        shared, token = self.service.data, self.service.token
        second = self.new_process(base, self.database, shared=shared, token=token)
        second.start()
        self.services.append(second)
        self.start_customers()
        for _ in range(KILLS):
            time.sleep(self.random.choice((0.05, 0.3, 1, 3)) * self.random.random())
            victim = self.random.choice(self.services)
            if self.random.random() < 0.2:
                victim.process.send_signal(signal.SIGSTOP)
                time.sleep(3 * self.random.random())
                victim.process.send_signal(signal.SIGCONT)
                continue
            victim.kill()
            time.sleep(self.random.choice((0, 1, 4)) * self.random.random())
            victim.start()
            if any(customer.failure for customer in self.customers):
                break
        if KILLS >= LONG:
            self.stop_beyond_leases()
        # For good: the customers, and the last job, find the other.
        self.random.choice(self.services).kill()
        self.finish()

    def stop_beyond_leases(self):
        """A process that others take to be dead, and whose jobs they end, goes on."""
        victim = self.random.choice(self.services)
        victim.process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(LEASE_SECONDS + 15)
        finally:
            victim.process.send_signal(signal.SIGCONT)
        time.sleep(5)

    def test_store_away(self):
        """The S3 server fails every request for a while, or answers none."""
        if not self.database:
            self.skipTest("with SQLite, images are in directories")
        if garage.PROGRAM:
            self.skipTest("Garage has no moods")
        self.service.start()
        self.start_customers()
        for number in range(FAULTS):
            time.sleep(3 * self.random.random())
            self.buckets.mood(("erring", "stalling")[number % 2])
            time.sleep(6 * self.random.random())
            self.buckets.mood("well")
        self.finish()

    def finish(self):
        self.stop_customers()
        checker.check(self.services, self.store)
        done = {}
        for customer in self.customers:
            for what, count in customer.done.items():
                done[what] = done.get(what, 0) + count
        print(f"{done} ", end="", flush=True)
