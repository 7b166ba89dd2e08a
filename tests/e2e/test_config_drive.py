"""The config drives of machines, as programs read them that others wrote: Ignition, and cloud-init of the
years in which it was made."""

import hashlib
import json
import os
import subprocess
import unittest
import urllib.request
from pathlib import Path

from abbild import ALL_WELCOME, CACHE, ServiceTestCase, environment, install, raw_disk
from test_network import NETWORK, OnBridge

UBUNTU = "http://archive.ubuntu.com/ubuntu/pool/main/c/cloud-init"
# Those that Ubuntu 16.04, 18.04 and 20.04 came with, and their digests.
OLD = {
    "0.7.7~bzr1212-0ubuntu1": "c8f430f4ae236a3de8f2e1b24276b0d51a69bd522a02d03d8f8b8fa7483a0a3e",
    "18.2-14-g6d48d265-0ubuntu1": "b8a10963548fa938a7e6899b3e21d51622191f9a4d84c30b62301339b9fda3a9",
    "20.1-10-g71af48df-0ubuntu5": "ff86293529a72837b4f0a130dec7c272fd5a3a10a8be47dd569d575dbf14529e",
}
# What they import.
IMPORTED = [
    "configobj", "jinja2", "jsonpatch", "jsonschema", "oauthlib", "prettytable", "pyserial", "pyyaml",
    "requests", "six",
]  # fmt: skip
USER_DATA = "#cloud-config\npackages: [tmux]\n"

IGNITION = {
    "ignition": {"version": "3.3.0"},
    "storage": {
        "files": [{"path": "/etc/from", "contents": {"source": "data:,the%20config%20drive"}}],
    },
}
# `files` ends with an error where there is no SELinux to ask, and has written them before.
RUN_IGNITION = """
sudo mkdir /tmp/root
ignition() {
    sudo timeout 120 /usr/lib/dracut/modules.d/30ignition/ignition \
        --platform openstack --root /tmp/root --log-to-stdout --stage "$@"
}
ignition fetch && ignition files
cat /tmp/root/etc/from
"""


def package(version):
    """The package of a version, which is downloaded once."""
    file = CACHE / f"abbild/cloud-init_{version}_all.deb"
    if not file.exists():
        with urllib.request.urlopen(f"{UBUNTU}/{file.name}", timeout=60) as answer:
            file.write_bytes(answer.read())
    if hashlib.sha256(file.read_bytes()).hexdigest() != OLD[version]:
        file.unlink()
        raise AssertionError(f"{file.name} is not what Ubuntu once released")
    return file


class OldCloudInit(OnBridge, ServiceTestCase):
    settings = ALL_WELCOME
    vm = 'locale = "de_DE.UTF-8"\n'

    @classmethod
    def setUpClass(cls):
        # The namespace leads nowhere.
        cls.python = environment("old-cloud-init", IMPORTED) / "python"
        packages = {version: package(version) for version in OLD}
        super().setUpClass()
        for version, file in packages.items():
            subprocess.run(["dpkg-deb", "-x", file, cls.base / version], check=True)
        (cls.base / "user-data").write_text(USER_DATA)
        disk = cls.base / "halts.raw"
        disk.write_bytes(raw_disk(4))
        cls.customer.run("image", "upload", disk, "--no-check", "--name", "halts", "--region", "hal1")

    def machine(self, name):
        """A new machine, and the directory with what is on its config drive."""
        self.customer.run(
            "vm", "create", "--image", "halts", "--region", "hal1", "--size", "s-1vcpu-512mb-10gb",
            "--key", f"{self.customer.key}.pub", "--user-data", self.base / "user-data", "--name", name,
        )  # fmt: skip
        machine = self.customer.json("vm", "show", name)
        drive = self.base / name
        home = self.service.data / "regions/hal1/vms" / str(machine["id"])
        extract = ["xorriso", "-osirrox", "on", "-indev", home / "config.iso", "-extract", "/", drive]
        subprocess.run(extract, check=True, capture_output=True)
        self.customer.run("vm", "delete", name)
        return machine, drive

    def read(self, version, drive):
        """How a version of cloud-init would set up the network, once it has said what all of them have to."""
        reader = Path(__file__).with_name("old_cloud_init.py")
        modules = {"PYTHONPATH": str(self.base / version / "usr/lib/python3/dist-packages")}
        done = subprocess.run(
            [self.python, reader, drive], env=os.environ | modules, capture_output=True, text=True
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        said = json.loads(done.stdout)
        self.assertEqual(said["metadata"]["local-hostname"], drive.name)
        self.assertRegex(said["metadata"]["instance-id"], r"^[0-9a-f-]{36}$")
        [key] = said["metadata"]["public_keys"].values()
        self.assertEqual(key.split()[:2], Path(f"{self.customer.key}.pub").read_text().split()[:2])
        self.assertEqual(said["user_data"], USER_DATA)
        self.assertRegex(said["vendor_data"], r'\A#cloud-config\n.*"locale":"de_DE.UTF-8"')
        return said["networks"]

    def assert_told(self, name, addresses, dhcp, routers, dns=()):
        """Every version sets up the network of a new machine."""
        machine, drive = self.machine(name)
        [card] = json.loads((drive / "openstack/latest/network_data.json").read_text())["links"]
        addresses = [machine["networks"][kind][0]["ip_address"] for kind in addresses]
        told = {
            "card": [card["ethernet_mac_address"]], "dhcp": dhcp, "addresses": addresses, "dns": list(dns),
        }  # fmt: skip
        for version in OLD:
            with self.subTest(version=version, network=name):
                for network in self.read(version, drive):
                    self.assertIn(network.pop("routers"), (None, routers))
                    self.assertEqual(network, told)

    def restart(self, settings):
        self.service.stop()
        self.service.configure(settings)
        self.service.start()

    def test_every_network_is_told(self):
        self.assert_told("alone", [], True, [])
        self.restart(NETWORK)
        self.assert_told("managed", ["v6"], True, ["fd00:20::1"], ["10.20.0.1"])
        self.restart('dhcp = "operator"\n')
        self.assert_told("operator", ["v4", "v6"], False, ["10.20.0.1", "fd00:20::1"], ["10.20.0.1"])


class Ignition(ServiceTestCase):
    def test_it_does_what_the_user_data_say(self):
        configuration = self.base / "config.ign"
        configuration.write_text(json.dumps(IGNITION))
        self.machine_of("ign", "--user-data", configuration, image="debian-12.qcow2")
        self.customer.ssh("ign", install("ignition"))
        said = self.customer.ssh("ign", RUN_IGNITION)
        self.assertIn("by-label/config-2", said)
        self.assertEqual(said.splitlines()[-1], "the config drive", said)


if __name__ == "__main__":
    unittest.main()
