"""Real guests on a bridge: they get the addresses that were allotted to them, are reached at these, and
cannot speak for anybody else. Everything runs in a network namespace of its own."""

import base64
import ctypes
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import unittest
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import test_cycles
from abbild import BOOT_SECONDS, RESCUE, ROOT, ServiceTestCase, fixture, wait_for

CLONE_NEWNET = 0x40000000
CLONE_NEWNS = 0x00020000
ETH_P_ALL = 3
FORGER = ROOT / "crates/service/tests/it/guest.py"
NETWORK = """
[vm.network]
mode = "bridge"
bridge = "br0"
ipv4 = "10.20.0.0/24"
first = "10.20.0.5"
gateway = "10.20.0.1"
ipv6 = "fd00:20::/64"
ipv6_gateway = "fd00:20::1"
dns = ["10.20.0.1"]
"""


def ip(line):
    return subprocess.run(["ip", *line.split()], check=True, capture_output=True, text=True).stdout


def enter_namespace():
    """Moves this thread, and what it starts, to a network and mounts of its own; returns the way back."""
    here, libc = os.getcwd(), ctypes.CDLL(None, use_errno=True)
    kinds = {"net": CLONE_NEWNET, "mnt": CLONE_NEWNS}
    before = {kind: os.open(f"/proc/thread-self/ns/{name}", os.O_RDONLY) for name, kind in kinds.items()}
    if libc.unshare(CLONE_NEWNET | CLONE_NEWNS) != 0:
        for namespace in before.values():
            os.close(namespace)
        raise unittest.SkipTest("this user may not make a network namespace")
    # The device of ports as udev makes it, which not every machine has.
    for line in (
        "mount --make-rprivate /",
        "mount -t tmpfs tun /dev/net",
        "mknod -m 0666 /dev/net/tun c 10 200",
    ):
        subprocess.run(line.split(), check=True)

    def leave():
        for kind, namespace in before.items():
            if libc.setns(namespace, kind) != 0:
                raise OSError(ctypes.get_errno(), "the way back from the namespaces is lost")
            os.close(namespace)
        os.chdir(here)  # The way back leads to the root directory.

    return leave


class OnBridge:
    """Before a test case: it, its service and its machines are in a network namespace with a bridge, of
    which whatever passes by all ports arrives at the interface `observer`."""

    @classmethod
    def setUpClass(cls):
        for program in ("ip", "nft", "dnsmasq"):
            if not shutil.which(program):
                raise unittest.SkipTest(f"`{program}` is not installed")
        # Clean-ups run in the opposite order.
        cls.addClassCleanup(enter_namespace())
        for line in (
            "link set lo up",
            "link add br0 type bridge",
            "address add 10.20.0.1/24 dev br0",
            "address add fd00:20::1/64 dev br0 nodad",
            "link set br0 up",
            "link add other type veth peer name observer",
            "link set other master br0 up",
            "link set observer up",
        ):
            ip(line)
        super().setUpClass()

    def assert_unconnected(self):
        """Nothing is left of what connected machines."""
        wait_for("the ports to go", lambda: not ip("link show type tun"), 30)
        rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout
        self.assertNotIn("10.20.0.", rules)
        self.assertEqual(list(Path(self.service.data, "dnsmasq/hosts").iterdir()), [])


class Network(OnBridge, ServiceTestCase):
    vm = f'rescue = "{RESCUE}"\n{NETWORK}'

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        customer = cls.customer
        customer.run(
            "image", "upload", fixture("debian-12.qcow2"), "--name", "deb", "--region", "hal1"
        )

    def create(self, name):
        self.customer.run(
            "vm", "create", "--image", "deb", "--region", "hal1", "--size", "s-1vcpu-1gb",
            "--key", f"{self.customer.key}.pub", "--name", name,
        )  # fmt: skip
        networks = self.customer.json("vm", "show", name)["networks"]
        return networks["v4"][0]["ip_address"], networks["v6"][0]["ip_address"]

    def over_ipv6(self, address, command, user="debian"):
        """As `vm ssh` does, by the other address."""
        return subprocess.run(
            [
                "ssh", "-i", self.customer.key, "-l", user, "-o", "BatchMode=yes",
                "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                "-o", "ConnectTimeout=60", address, command,
            ],
            check=True, capture_output=True, text=True, timeout=BOOT_SECONDS,
        ).stdout.strip()  # fmt: skip

    def addresses(self, name):
        """What the guest has, by its own account: `{address: how it got it}`."""
        said = json.loads(self.customer.ssh(name, "ip -json address show scope global"))
        # iproute2 leaves empty objects in the place of what was not asked for.
        told = [a for interface in said for a in interface.get("addr_info", []) if a]
        return {address["local"]: address.get("dynamic", False) for address in told}

    def assert_reached(self, name, ipv4, ipv6):
        self.assert_booted_from_config_drive(name, name)
        self.assertEqual(self.over_ipv6(ipv6, "hostname"), name)
        # The other way, by its default routes.
        self.customer.ssh(name, "ip route get 192.0.2.1 | grep 'via 10.20.0.1 '")
        self.customer.ssh(name, "ip -6 route show default | grep 'via fd00:20::1 '")
        self.customer.ssh(name, "grep 10.20.0.1 /etc/resolv.conf /run/systemd/resolve/resolv.conf")

    def test_1_by_dhcp(self):
        ipv4, ipv6 = self.create("one")
        self.assertEqual(ipv4, "10.20.0.5")
        self.assert_reached("one", ipv4, ipv6)
        had = self.addresses("one")
        self.assertEqual(set(had), {ipv4, ipv6})
        self.assertTrue(had[ipv4], "the address is not from DHCP")

    def test_2_forged_frames_do_not_leave(self):
        networks = self.customer.json("vm", "show", "one")["networks"]
        ipv4, ipv6 = (networks[v][0]["ip_address"] for v in ("v4", "v6"))
        card = json.loads(self.customer.ssh("one", "ip -json route get 192.0.2.1"))[0]["dev"]
        mac = self.customer.ssh("one", f"cat /sys/class/net/{card}/address")
        spec = importlib.util.spec_from_file_location("guest", FORGER)
        forger = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(forger)
        hardware = bytes.fromhex(mac.replace(":", ""))
        frames = forger.forgeries(hardware, IPv4Address(ipv4), IPv6Address(ipv6))

        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as observer:
            observer.bind(("observer", 0))
            program = base64.b64encode(FORGER.read_bytes()).decode()
            self.customer.ssh(
                "one",
                f"echo {program} | base64 -d >/tmp/guest.py && "
                f"sudo python3 /tmp/guest.py send {card} {mac} {ipv4} {ipv6} -",
            )
            observer.settimeout(2)
            seen = set()
            try:
                while True:
                    seen.add(observer.recv(65536))
            except TimeoutError:
                pass
        passed = {what for what, frame, _ in frames if frame in seen}
        self.assertEqual(passed, {what for what, _, may_pass in frames if may_pass})
        # Nor does an address that the guest gives itself lead anywhere.
        self.customer.ssh("one", f"sudo ip address add 10.20.0.77/24 dev {card}")
        self.customer.ssh("one", "sudo ping -c 1 -W 20 10.20.0.1")
        self.customer.ssh("one", "! sudo ping -c 2 -W 2 -I 10.20.0.77 10.20.0.1")

    def test_3_without_dhcp(self):
        self.service.kill()
        self.service.configure('dhcp = "operator"\n')
        self.service.start()
        ipv4, ipv6 = self.create("two")
        self.assertEqual(ipv4, "10.20.0.6")
        self.assert_reached("two", ipv4, ipv6)
        self.assertEqual(self.addresses("two"), {ipv4: False, ipv6: False})
        # Both are on one network.
        self.customer.ssh("two", "sudo ping -c 1 -W 20 10.20.0.5")
        self.assertEqual(self.customer.ssh("one", "hostname"), "one")

    def test_4_rescued(self):
        customer = self.customer
        networks = customer.json("vm", "show", "two")["networks"]
        ipv4, ipv6 = (networks[v][0]["ip_address"] for v in ("v4", "v6"))
        customer.run("vm", "rescue", "two")
        # Nobody but the config drive tells the rescue system its addresses.
        self.assertIn("busybox", customer.ssh("two", "readlink /sbin/init"))
        self.assertEqual(set(self.busybox_addresses("two")), {ipv4, ipv6})
        self.assertEqual(self.over_ipv6(ipv6, "hostname", "root"), "two-rescue")
        customer.ssh("two", "ip route | grep 'default via 10.20.0.1 '")
        customer.ssh("two", "ip -6 route | grep 'default via fd00:20::1 '")
        customer.ssh("two", "grep 10.20.0.1 /etc/resolv.conf")
        customer.run("vm", "unrescue", "two")
        self.assert_reached("two", ipv4, ipv6)

    def busybox_addresses(self, name):
        said = self.customer.ssh(name, "ip address show scope global")
        return [words.split()[1].split("/")[0] for words in said.splitlines() if "inet" in words]

    def test_5_nothing_is_left(self):
        for name in ("one", "two"):
            self.customer.run("vm", "delete", name)
        self.assert_unconnected()


class CyclesOnBridge(OnBridge, test_cycles.Cycles):
    """The same with ports, rules and dnsmasq, and a service that is killed while it deletes."""

    cycles = 40
    vm = test_cycles.Cycles.vm + NETWORK

    def run_through(self, numbers):
        half = len(numbers) // 2
        super().run_through(numbers[:half])
        self.service.kill()
        self.service.start()
        super().run_through(numbers[half:])

    def test_nothing_is_left(self):
        super().test_nothing_is_left()
        self.assert_unconnected()


if __name__ == "__main__":
    unittest.main()
