"""What is done to a machine after its creation, with a guest that takes part."""

import socket
import unittest

from abbild import ServiceTestCase, fixture, install

INSTALL_AGENT = f"{install('qemu-guest-agent')} && sudo systemctl start qemu-guest-agent"


class Life(ServiceTestCase):
    # None that Debian has without being asked to make it.
    vm = 'locale = "en_GB.UTF-8"\ntimezone = "Europe/Berlin"\n'

    def boot(self, vm):
        return self.customer.ssh(vm, "cat /proc/sys/kernel/random/boot_id")

    def assert_password_reset(self, vm):
        """The guest sets the password that was told, and root logs in with it on the console."""
        customer = self.customer
        customer.ssh(vm, INSTALL_AGENT)
        password = customer.run("vm", "password-reset", vm).strip()
        # `login` forgets what is typed before it asks for it.
        for typed, expected in (
            ("\n", "login:"),
            ("root\n", "Password:"),
            (f"{password}\n", "root@"),
            ("echo uid=$(id -u)=\n", "uid=0="),
        ):
            said = customer.run("vm", "console", vm, "--linger", 10, stdin=typed)
            self.assertIn(expected, said)
        customer.run("vm", "console", vm, stdin="exit\n")

    def test_a_machine_is_rebooted_resized_copied_and_rebuilt(self):
        customer = self.customer
        customer.run(
            "image", "upload", fixture("debian-12.qcow2"), "--name", "deb", "--region", "hal1"
        )
        customer.run("key", "add", "me", f"{customer.key}.pub")
        customer.run(
            "vm", "create", "--image", "deb", "--region", "hal1", "--size", "s-1vcpu-1gb",
            "--key", "me", "--name", "life",
        )  # fmt: skip
        self.assert_booted_from_config_drive("life", "life")
        chosen = customer.ssh("life", "cat /etc/default/locale; locale -a; readlink /etc/localtime")
        self.assertIn("LANG=en_GB.UTF-8", chosen)
        self.assertIn("en_GB.utf8", chosen)
        self.assertIn("Europe/Berlin", chosen)
        first = self.boot("life")
        customer.ssh("life", "echo here > marker && sync")

        # Whatever listens in the guest can be reached.
        customer.run("vm", "forward", "life", "2022:22")
        address = customer.json("vm", "show", "life")["networks"]["v4"][0]["ip_address"]
        with socket.create_connection((address, 2022), timeout=60) as connection:
            self.assertEqual(connection.recv(4), b"SSH-")

        self.assert_password_reset("life")

        # The guest shuts down when it is asked, and its disk is as it left it.
        customer.run("vm", "reboot", "life")
        self.assertNotEqual(self.boot("life"), first)
        self.assertEqual(customer.ssh("life", "cat marker"), "here")

        copy = customer.json("vm", "snapshot", "life", "--name", "copy")
        self.assertEqual((copy["status"], copy["type"]), ("available", "snapshot"))
        # What machines made of it would have in common with this one is said: its identity and keys.
        self.assertEqual(copy["abbild"]["verdict"], "accepted_with_warnings")
        self.assertRegex(" ".join(copy["abbild"]["findings"]), "(?i)machine id.*host key")
        self.assertEqual(copy["distribution"], "Debian")
        # It ran meanwhile, and runs.
        self.assertEqual(customer.ssh("life", "cat marker"), "here")

        shut = customer.json("vm", "shutdown", "life")
        self.assertEqual((shut["status"], shut["abbild"]["reason"]), ("off", None))
        customer.run("vm", "resize", "life", "--size", "s-1vcpu-2gb", "--disk")
        customer.run("vm", "rename", "life", "larger")
        customer.run("vm", "power-on", "larger")
        memory = int(customer.ssh("larger", "awk '/MemTotal/ {print $2}' /proc/meminfo"))
        self.assertGreater(memory, 1900 << 10)
        size = int(customer.ssh("larger", "df --output=size -B1 / | tail -1"))
        self.assertGreater(size, 45 << 30, "the root filesystem did not grow with the disk")

        customer.run("vm", "rebuild", "larger")
        self.assertEqual(customer.ssh("larger", "ls marker || true"), "")
        customer.run("vm", "delete", "larger")

        customer.run(
            "vm", "create", "--image", "copy", "--region", "hal1", "--size", "s-1vcpu-1gb",
            "--key", "me", "--name", "twin",
        )  # fmt: skip
        self.assertEqual(customer.ssh("twin", "cat marker"), "here")
        self.assertEqual(customer.ssh("twin", "hostname"), "twin")
        customer.run("vm", "delete", "twin")


if __name__ == "__main__":
    unittest.main()
