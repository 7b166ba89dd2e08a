"""Machines: what the service costs on top of QEMU, while one boots and while fifty run."""

import json
import os
import shutil
import socket
import statistics
import subprocess
import time
from pathlib import Path

from abbild import (
    ALL_WELCOME,
    NO_RATE_LIMIT,
    Service,
    fixture,
    qemu_processes,
    raw_disk,
    wait_for,
)
from api import Api
from measure import ROUNDS, say

BOOT_SECONDS = 600
BOOT_TARGET = 1.05
MACHINES = 50
SMALL = "s-1vcpu-512mb-10gb"
POLL_SECONDS = 30
CPU_TARGET = 0.05
QUOTAS = """
[quotas]
droplets = 100
vcpus = 100
memory_bytes = "200 GiB"
"""


def until_ssh(address, begun):
    """Seconds since `begun` until a guest's SSH server says its name."""
    deadline = begun + BOOT_SECONDS
    while time.perf_counter() < deadline:
        try:
            with socket.create_connection((address, 22), timeout=1) as connection:
                # QEMU accepts before the guest does; only the guest speaks.
                if connection.recv(4) == b"SSH-":
                    return time.perf_counter() - begun
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"no SSH at {address} within {BOOT_SECONDS} s")


class Kept:
    """A machine's command line and what it needs."""

    def __init__(self, base):
        self.directory = base / "by-hand"
        self.line, self.address, self.size = None, None, None


def by_service(api, base, image, kept):
    """A boot through the service. Leaves in `kept` what is needed to do the same by hand."""
    # The service gives up a connection on which nothing came for as long as a boot takes; this has the
    # next request make another.
    api.connection.close()
    begun = time.perf_counter()
    body = {"name": "boot", "image": image["id"], "region": "hal1", "size": "s-1vcpu-1gb"}
    _, answer = api.call("POST", "/v2/droplets", body)
    path = f"/v2/droplets/{answer['droplet']['id']}"
    machine = api.until(path, "droplet", "active")
    address = machine["networks"]["v4"][0]["ip_address"]
    elapsed = until_ssh(address, begun)
    api.connection.close()
    [process] = qemu_processes(base)
    remember(process, kept)
    kept.address = address
    api.call("DELETE", path)
    wait_for("the machine to go", lambda: not qemu_processes(base), 60)
    return elapsed


def remember(process, kept):
    home = Path(f"/proc/{process}/cwd").resolve()
    line = Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0")[:-1]
    # Only the service has to tell a machine to begin.
    kept.line = [argument for argument in line if argument != "-S"]
    shutil.rmtree(kept.directory, ignore_errors=True)
    (kept.directory / "run").mkdir(parents=True)
    os.link(home / "base.qcow2", kept.directory / "base.qcow2")
    shutil.copy(home / "config.iso", kept.directory)
    about = ["qemu-img", "info", "-U", "--output=json", home / "disk.qcow2"]
    done = subprocess.run(about, check=True, capture_output=True)
    kept.size = str(json.loads(done.stdout)["virtual-size"])


def by_hand(kept):
    """A boot with the same command line, and a disk that `qemu-img` made."""
    begun = time.perf_counter()
    disk = kept.directory / "disk.qcow2"
    disk.unlink(missing_ok=True)
    make = ["qemu-img", "create", "-q", "-f", "qcow2", disk, kept.size]
    subprocess.run(make, check=True)
    # As the service starts it: what it says is not for the table.
    log = (kept.directory / "qemu.log").open("w")
    process = subprocess.Popen(kept.line, cwd=kept.directory, stderr=log)
    try:
        return until_ssh(kept.address, begun)
    finally:
        process.kill()
        process.wait()


def boot_row(api, base, image):
    kept = Kept(base)
    pairs = []
    for number in range(ROUNDS or 6):
        # A host that becomes slower or faster meanwhile favours neither: each is first by turns. What to
        # do by hand is known after the first.
        if number % 2:
            peer = by_hand(kept)
            ours = by_service(api, base, image, kept)
        else:
            ours = by_service(api, base, image, kept)
            peer = by_hand(kept)
        pairs.append((ours, peer))
        say(f"boot {number + 1}: {ours:.1f} s, by hand {peer:.1f} s, {ours / peer:.2f}")
    # A boot takes so long that other guests of the host slow one by a third more than another. Runs next to
    # each other have most in common.
    ratio = statistics.median(ours / peer for ours, peer in pairs)
    ours, peer = (statistics.median(times) for times in zip(*pairs))
    return (
        "VM create to SSH", f"{ours:.1f} s", f"the same QEMU by hand {peer:.1f} s",
        f"{ratio:.2f} of its time (target {BOOT_TARGET})", ratio <= BOOT_TARGET,
    )  # fmt: skip


def processor_seconds(process):
    """What a process has used of the processors since it began."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def polled_row(api, service, base):
    """Fifty machines that only halt, listed every second, and each shown once in that time."""
    disk = base / "halts.raw"
    disk.write_bytes(raw_disk(4))
    _, image = api.import_image(api.upload(disk), "halts")
    made = []
    for number in range(MACHINES):
        body = {"name": f"m{number}", "image": image["id"], "region": "hal1", "size": SMALL}
        _, answer = api.call("POST", "/v2/droplets", body)
        made.append(f"/v2/droplets/{answer['droplet']['id']}")
    for path in made:
        api.until(path, "droplet", "active")
    begun, used = time.perf_counter(), processor_seconds(service.process.pid)
    while time.perf_counter() - begun < POLL_SECONDS:
        second = time.perf_counter()
        api.call("GET", "/v2/droplets?per_page=200")
        for path in made:
            api.call("GET", path)
        time.sleep(max(0, second + 1 - time.perf_counter()))
    share = (processor_seconds(service.process.pid) - used) / (time.perf_counter() - begun)
    return (
        f"{MACHINES} VMs listed and shown every second", f"{share:.1%} of a core",
        f"target: {CPU_TARGET:.0%}", "", share <= CPU_TARGET,
    )  # fmt: skip


def rows(base):
    service = Service(base, NO_RATE_LIMIT + QUOTAS + ALL_WELCOME)
    service.start()
    try:
        api = Api(service)
        _, image = api.import_image(api.upload(fixture("debian-12.qcow2")), "boot")
        say("boots …")
        yield boot_row(api, base, image)
        api.connection.close()
        say(f"{MACHINES} machines …")
        yield polled_row(api, service, base)
    finally:
        service.stop()
        for process in qemu_processes(base):
            os.kill(process, 9)
