"""What a customer does when nothing answers any more: rescue the machine, repair it, and log in."""

import json
import mmap
import subprocess
import unittest
import uuid

from abbild import BOOT_SECONDS, RESCUE, CommandFailed, ServiceTestCase, fixture, wait_for

INSTALL = (
    "rescue-chroot sh -c 'apt-get -q update && "
    "DEBIAN_FRONTEND=noninteractive apt-get -qy --no-install-recommends install openssh-server'"
)


def give_other_uuid(disk):
    """Changes the UUID of the root filesystem of a raw disk, and what names it: the fixtures have the same."""
    table = subprocess.run(["sfdisk", "--json", disk], check=True, capture_output=True)
    partitions = json.loads(table.stdout)["partitiontable"]["partitions"]
    start = max(partitions, key=lambda partition: partition["size"])["start"] * 512
    filesystem = f"{disk}?offset={start}"
    shown = subprocess.run(
        ["dumpe2fs", "-h", filesystem], check=True, capture_output=True, text=True
    ).stdout
    old = next(line.split()[-1] for line in shown.splitlines() if "UUID" in line)
    new = str(uuid.uuid4())
    # Files alone hold it as text, and no checksum covers those.
    with open(disk, "r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        place = content.find(old.encode())
        while place >= 0:
            content[place : place + len(new)] = new.encode()
            place = content.find(old.encode(), place + len(new))
    subprocess.run(["tune2fs", "-U", new, filesystem], check=True, capture_output=True)


class Rescue(ServiceTestCase):
    vm = f'rescue = "{RESCUE}"'

    @classmethod
    def setUpClass(cls):
        if not (RESCUE / "initrd").exists():
            raise AssertionError(f"{RESCUE} has no rescue system; `make rescue` builds it")
        super().setUpClass()

    def boot(self, name):
        """A machine made of a fixture, which is up but has no SSH server."""
        self.machine_of(name)
        self.until_shown(name, "login:")
        with self.assertRaises(CommandFailed):
            self.customer.ssh(name, "true", seconds=5)

    def until_shown(self, vm, text):
        def is_shown():
            return text in self.customer.run("vm", "console", vm, "--log")

        wait_for(f"`{text}` on the console of {vm}", is_shown, BOOT_SECONDS, interval=1)

    def rescue(self, vm):
        return self.customer.json("vm", "show", vm)["abbild"]["rescue"]

    def test_an_ssh_server_is_installed_from_the_rescue_system(self):
        customer, vm = self.customer, "sshd-removed"
        self.boot(vm)
        customer.run("vm", "rescue", vm)
        self.assertEqual(self.rescue(vm), {"image": None})
        self.until_shown(vm, "This is the rescue system")

        # On the console, as somebody without a key would.
        shown = customer.run(
            "vm", "console", vm, "--linger", 15,
            stdin="\nrescue-mount; grep ^PRETTY /mnt/etc/os-release\n",
        )  # fmt: skip
        self.assertIn('PRETTY_NAME="Debian GNU/Linux 12', shown)
        # By SSH, as somebody with one.
        customer.ssh(vm, INSTALL)
        self.assertIn("enabled", customer.ssh(vm, "rescue-chroot systemctl is-enabled ssh"))

        # It lasts, whatever becomes of the service.
        self.service.kill()
        self.service.start()
        self.assertEqual(self.rescue(vm), {"image": None})
        customer.run("vm", "unrescue", vm)
        self.assertIsNone(self.rescue(vm))
        self.assert_booted_from_config_drive(vm, vm)

    def test_an_ssh_server_is_enabled_from_another_image(self):
        customer, vm = self.customer, "sshd-disabled"
        self.boot(vm)
        copy, other = fixture("debian-12-uefi.qcow2"), self.base / "other.raw"
        customer.run("image", "upload", copy, "--name", "copy", "--region", "hal1")
        customer.run("vm", "rescue", vm, "--image", "copy", status=None)
        self.assertIn("with the UUID", customer.errors)
        subprocess.run(["qemu-img", "convert", "-O", "raw", copy, other], check=True)
        give_other_uuid(other)
        customer.run("image", "upload", other, "--name", "helper", "--region", "hal1")
        customer.run("vm", "rescue", vm, "--image", "helper")
        self.assertIsNotNone(self.rescue(vm)["image"])
        self.assertEqual(customer.ssh(vm, "test -d /sys/firmware/efi && id -un"), "debian")
        customer.ssh(
            vm,
            "sudo mount /dev/disk/by-id/virtio-machine-part1 /mnt && "
            "sudo chroot /mnt systemctl enable ssh && sudo umount /mnt",
        )
        customer.run("vm", "unrescue", vm)
        self.assert_booted_from_config_drive(vm, vm)
        machine = self.service.data / f"regions/hal1/vms/{customer.json('vm', 'show', vm)['id']}"
        self.assertFalse((machine / "rescue.qcow2").exists())


if __name__ == "__main__":
    unittest.main()
