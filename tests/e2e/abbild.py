"""A service under test, a customer at its command line, and what both leave behind.

Everything lies in one temporary directory: the service's data, the customer's configuration and
state, keys. Nothing of the developer's own account is touched.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("ABBILD_BIN", ROOT / "target/release/abbild")).resolve()
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
FIXTURES = Path(os.environ.get("ABBILD_FIXTURES", CACHE / "abbild/fixtures"))

RESCUE = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "abbild/rescue"

# An emulated guest needs about a minute; a busy machine takes a multiple of that.
BOOT_SECONDS = 420


class CommandFailed(AssertionError):
    """The command line ended with an exit status that was not expected."""


def fixture(name):
    """The path of a guest image, which must exist."""
    path = FIXTURES / name
    if not path.exists():
        raise AssertionError(f"{path} is missing; `make fixtures` or `make fixtures-all` builds it")
    return path


def index():
    """What fixtures/guest says of each image."""
    return json.loads((ROOT / "fixtures/guest/index.json").read_text())["images"]


def environment(name, packages):
    """Where the programs of some Python packages lie: a cached virtual environment."""
    home = CACHE / "abbild" / name
    complete, wanted = home / "complete", "\n".join(packages)
    if not complete.exists() or complete.read_text() != wanted:
        print(f"installing {' '.join(packages)} into {home}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([home / "bin/pip", "install", "--quiet", *packages], check=True)
        complete.write_text(wanted)
    return home / "bin"


def wait_for(what, condition, seconds, interval=0.1):
    """Waits until `condition` returns something true, and returns it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(interval)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def free_port():
    """A port of the loopback address that nobody uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


# Settings of a service that takes every disk.
ALL_WELCOME = """
[requirements]
operating-system = "note"
root-filesystem = "note"
cloud-init = "note"
datasource-order = "note"
sshd = "note"
"""


# Tests and measurements ask more often than people.
NO_RATE_LIMIT = "[limits]\nrequests_per_hour = 0\nrequests_per_minute = 0\n"


def partition_table(size):
    """The first sector of a disk of `size` bytes with one MBR partition, which Linux may have."""
    sector = bytearray(512)
    sector[446], sector[450] = 0x80, 0x83
    sector[454:458] = (2048).to_bytes(4, "little")
    sector[458:462] = (size // 512 - 2048).to_bytes(4, "little")
    sector[510:512] = b"\x55\xaa"
    return sector


def raw_disk(mib):
    """A raw disk with one partition and nothing in it; a machine that boots it only halts."""
    disk = bytearray(mib << 20)
    disk[:512] = partition_table(len(disk))
    disk[:4] = b"\xfa\xf4\xeb\xfd"  # cli; hlt; jmp back to hlt
    return bytes(disk)


def qemu_processes(directory):
    """Process ids of the machines whose files lie below `directory`."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if "qemu" not in (process / "comm").read_text():
                continue
            if str(Path(os.readlink(process / "cwd"))).startswith(str(directory)):
                found.append(int(process.name))
                continue
            if str(directory) in (process / "cmdline").read_text():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def install(package):
    """The command with which a Debian guest installs a package."""
    return (
        "sudo apt-get -q update && sudo DEBIAN_FRONTEND=noninteractive apt-get -qy "
        f"--no-install-recommends install {package}"
    )


class Service:
    """`abbild serve` with its own data directory; it can be killed and started again."""

    def __init__(self, base, settings="", token=None, vm=""):
        self.data = base / "data"
        self.port = free_port()
        self.config = base / "abbild.toml"
        # Machines of two test runs at once must not meet.
        block = os.getpid() % 200 + 20
        self.config.write_text(
            f'listen = "127.0.0.1:{self.port}"\ndata = "{self.data}"\n{settings}\n'
            f'[vm]\nfirst_address = "127.{block}.{self.port % 250}.2"\naddresses = 200\n{vm}\n'
        )
        self.log = base / "service.log"
        self.process = None
        self.token = token
        self.startup_seconds = None

    def configure(self, settings):
        """Adds lines to the configuration, which count from the next start on."""
        with self.config.open("a") as file:
            file.write(settings)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        begun = time.monotonic()
        self.process = subprocess.Popen(
            [BINARY, "serve", "--config", self.config],
            stdout=subprocess.PIPE,
            stderr=self.log.open("a"),
            text=True,
            start_new_session=True,
        )
        welcome = []
        for line in self.process.stdout:
            welcome.append(line)
            if "image upload" in line:
                break
        self.startup_seconds = time.monotonic() - begun
        text = "".join(welcome)
        if "image upload" not in text:
            raise AssertionError(f"the service did not start:\n{text}{self.log.read_text()}")
        token = re.search(r"\babb_[0-9a-f]{64}\b", text)
        self.token = token.group() if token else self.token
        return text

    def kill(self):
        """As the kernel would: no warning."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def is_up(self):
        """Whether the process was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def stop(self):
        """As an operator would."""
        if self.is_up():
            self.process.terminate()
            self.process.wait(timeout=30)
            self.process.stdout.close()

    def peak_memory_mib(self):
        """The most memory the process has had since it started."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 1024

    def leftovers(self):
        """Files that exist only while an import runs."""
        places = [self.data / "staging", self.data / "uploads"]
        places += self.data.glob("regions/*/incoming")
        return [file for place in places if place.exists() for file in place.iterdir()]

    def stored(self, region):
        """Canonical images in a region's store."""
        return list((self.data / "regions" / region / "images").iterdir())


class Customer:
    """Somebody with the command line, a key, and an account of the service."""

    def __init__(self, base, service):
        self.base = base
        self.service = service
        home = base / "home"
        home.mkdir()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"),
            "TMPDIR": str(base),
            "LANG": "C.UTF-8",
        }
        self.key = base / "key"
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True
        )

    def command(self, *arguments):
        return [str(BINARY), *map(str, arguments)]

    def run(self, *arguments, status=0, stdin="", timeout=600):
        """Runs `abbild` and returns what it printed, if it ended with `status` (`None`: any)."""
        done = subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            env=self.environment,
            timeout=timeout,
        )
        if status is not None and done.returncode != status:
            raise CommandFailed(
                f"abbild {' '.join(map(str, arguments))}: exit status {done.returncode}, not "
                f"{status}\n{done.stdout}\n{done.stderr}"
            )
        self.errors = done.stderr
        return done.stdout

    def json(self, *arguments, **options):
        return json.loads(self.run(*arguments, "--json", **options))

    def start(self, *arguments):
        """Runs `abbild` in the background."""
        return subprocess.Popen(
            self.command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
        )

    def login(self):
        self.run("login", self.service.url, "--token", self.service.token)

    def ssh(self, vm, command, seconds=BOOT_SECONDS):
        """Runs a command in the guest, as its default user."""
        return self.run(
            "vm", "ssh", vm, "-i", self.key, "--timeout", seconds,
            "--", "-o", "BatchMode=yes", command,
            timeout=seconds + 60,
        ).strip()  # fmt: skip


class ServiceTestCase(unittest.TestCase):
    """One service and one customer for all tests of a class, in order of their names."""

    settings = ""
    # Further lines of the section `vm`.
    vm = ""

    @classmethod
    def setUpClass(cls):
        if not BINARY.exists():
            raise AssertionError(f"{BINARY} is missing; `cargo build --release -p abbild` makes it")
        cls.base = Path(tempfile.mkdtemp(prefix="abbild-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.base, ignore_errors=True)
        cls.service = Service(cls.base, cls.settings, vm=cls.vm)
        cls.addClassCleanup(cls.tear_down_machines)
        cls.addClassCleanup(cls.service.stop)
        cls.service.start()
        cls.customer = Customer(cls.base, cls.service)
        cls.customer.login()

    @classmethod
    def tear_down_machines(cls):
        for process in qemu_processes(cls.base):
            os.kill(process, signal.SIGKILL)

    def image(self, name):
        return self.customer.json("image", "show", name)

    def machine_of(self, name, *options, image=None):
        """Makes a machine of a Debian fixture, by default the one of that name, and names both so. It goes
        with the test."""
        customer = self.customer
        customer.run(
            "image", "upload", fixture(image or f"debian-12-{name}.qcow2"), "--name", name,
            "--region", "hal1",
        )  # fmt: skip
        customer.run(
            "vm", "create", "--image", name, "--region", "hal1", "--size", "s-1vcpu-1gb",
            "--key", f"{customer.key}.pub", "--name", name, *options,
        )  # fmt: skip
        self.addCleanup(customer.run, "vm", "delete", name)

    def assert_booted_from_config_drive(self, vm, hostname):
        """Logs in and proves that cloud-init did what the config drive said."""
        self.assertEqual(self.customer.ssh(vm, "hostname"), hostname)
        status = self.customer.ssh(vm, "cloud-init status --wait --long")
        self.assertIn("DataSourceConfigDrive", status)
        self.assertNotIn("error", status.splitlines()[0])
        self.assertEqual(self.customer.ssh(vm, "id -un"), "debian")
