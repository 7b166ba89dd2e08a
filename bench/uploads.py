"""Uploads: how fast their bytes get to the disk, and a thousand of them at once.

An upload counts as done when its answer is here, and so its bytes are synced. The client shares the
machine with the service; it sends with sendfile(2), which costs it next to nothing.
"""

import asyncio
import contextlib
import os
import re
import resource
import shutil
import socket
import time
from pathlib import Path

from abbild import NO_RATE_LIMIT, Service, partition_table
from measure import medians, say, seconds

MIB = 1 << 20
LARGE = 1024 * MIB
SMALL = 2 * MIB
AT_ONCE = 1000
# What a process on Linux begins with: the service has to see to more itself.
SOFT_LIMIT = 1024


def disk_image(path, size):
    """A disk with a partition table, so that it is not refused, and noise behind."""
    noise = os.urandom(MIB)
    with open(path, "wb") as file:
        file.write(partition_table(size) + noise[512:])
        for _ in range(size // MIB - 1):
            file.write(noise)
        os.fsync(file.fileno())


def request(service, method, path, length=0, **headers):
    """The head of a tus request."""
    lines = [
        f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{service.port}", "Tus-Resumable: 1.0.0",
        f"Authorization: Bearer {service.token}", f"Content-Length: {length}",
    ]  # fmt: skip
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def creation(service, size):
    return request(service, "POST", "/v2/uploads", Upload_Length=size)


def appending(service, upload, size):
    kind = "application/offset+octet-stream"
    return request(service, "PATCH", upload, size, Upload_Offset=0, Content_Type=kind)


def location(answer):
    """The path of the upload that an answer names."""
    if not answer.startswith(b"HTTP/1.1 201"):
        raise AssertionError(answer)
    return re.search(rb"(?im)^location: .*?(/v2/uploads/\S+)", answer).group(1).decode()


def check_appended(answer):
    if not answer.startswith(b"HTTP/1.1 204"):
        raise AssertionError(answer)


def uploading(service, path):
    """A function that uploads a file and returns the seconds it took; the file of the upload is
    removed before the next."""

    def receive(connection):
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += connection.recv(4096) or b"\r\n\r\n"
        return answer

    def run():
        os.sync()
        size = path.stat().st_size
        connection = socket.create_connection(("127.0.0.1", service.port))
        with connection, open(path, "rb") as file:
            begun = time.perf_counter()
            connection.sendall(creation(service, size))
            upload = location(receive(connection))
            connection.sendall(appending(service, upload, size))
            connection.sendfile(file)
            check_appended(receive(connection))
            elapsed = time.perf_counter() - begun
            connection.sendall(request(service, "DELETE", upload))
            receive(connection)
        return elapsed

    return run


def copying(path, out):
    """A function that has dd copy a file and sync it once."""

    def run():
        out.unlink(missing_ok=True)
        os.sync()
        command = ["dd", f"if={path}", f"of={out}", "bs=1M", "conv=fdatasync", "status=none"]
        return seconds(command)

    return run


def throughput_row(base):
    say("uploads, one large …")
    source, service = base / "large.img", Service(base, NO_RATE_LIMIT)
    disk_image(source, LARGE)
    service.start()
    try:
        elapsed, peer = medians(uploading(service, source), copying(source, base / "peer.img"))
    finally:
        service.stop()
    rate = LARGE / MIB / elapsed
    yield (
        f"upload of {LARGE // MIB} MiB, synced", f"{rate:.0f} MiB/s",
        f"dd conv=fdatasync {LARGE / MIB / peer:.0f} MiB/s",
        f"{peer / elapsed:.2f} of its rate (target 0.8)", peer >= 0.8 * elapsed,
    )  # fmt: skip


def resident_mib(service):
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) / 1024


@contextlib.contextmanager
def soft_limit(files):
    """Sets how many files this process, and those it starts, may have open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def one_of_many(service, body, half_way, go_on):
    """One upload that stops in the middle until all are there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(creation(service, len(body)))
    upload = location(await reader.readuntil(b"\r\n\r\n"))
    writer.write(appending(service, upload, len(body)))
    for part in (body[: len(body) // 2], body[len(body) // 2 :]):
        for at in range(0, len(part), 64 << 10):
            writer.write(part[at : at + (64 << 10)])
            await writer.drain()
        half_way.release()
        await go_on.wait()
    check_appended(await reader.readuntil(b"\r\n\r\n"))
    writer.close()


async def many_at_once(service, body):
    """Uploads a body so many times at once. Returns the seconds it took, and how much memory the
    service had with all of them half way, and at the end."""
    half_way, go_on = asyncio.Semaphore(0), asyncio.Event()
    begun = time.perf_counter()
    uploads = [
        asyncio.create_task(one_of_many(service, body, half_way, go_on)) for _ in range(AT_ONCE)
    ]
    for _ in uploads:
        arrived = asyncio.create_task(half_way.acquire())
        await asyncio.wait([arrived, *uploads], return_when=asyncio.FIRST_COMPLETED)
        if not arrived.done():
            await asyncio.gather(*uploads)
    middle = resident_mib(service)
    go_on.set()
    await asyncio.gather(*uploads)
    return time.perf_counter() - begun, middle, resident_mib(service)


def at_once_rows(base):
    say(f"uploads, {AT_ONCE} at once …")
    source, service = base / "small.img", Service(base, NO_RATE_LIMIT)
    disk_image(source, SMALL)
    with soft_limit(SOFT_LIMIT):
        service.start()
    try:
        idle = resident_mib(service)
        with soft_limit(max(resource.getrlimit(resource.RLIMIT_NOFILE)[0], AT_ONCE + 100)):
            elapsed, middle, end = asyncio.run(many_at_once(service, source.read_bytes()))
        peak = service.peak_memory_mib()
    finally:
        service.stop()
        shutil.rmtree(service.data)
    rate = AT_ONCE * SMALL / MIB / elapsed
    yield (
        f"{AT_ONCE} uploads at once of {SMALL // MIB} MiB", f"{elapsed:.1f} s",
        f"{rate:.0f} MiB/s", "none failed", True,
    )  # fmt: skip
    yield (
        "peak memory of the service", f"{peak:.0f} MiB", "target: 256 MiB",
        f"{idle:.0f} idle, {middle:.0f} half way, {end:.0f} at the end", peak <= 256,
    )  # fmt: skip


def rows(base):
    for name, part in (("one", throughput_row), ("many", at_once_rows)):
        (base / name).mkdir()
        yield from part(base / name)
        shutil.rmtree(base / name)
