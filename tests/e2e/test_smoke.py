"""The main line in one go: upload, verdict, boot, login, and nothing left behind."""

import unittest

from abbild import ServiceTestCase, fixture, qemu_processes, wait_for


class Smoke(ServiceTestCase):
    vm = 'timezone = "Europe/Berlin"\n'

    def test_upload_boot_login_delete(self):
        customer = self.customer
        report = customer.json("check", fixture("debian-12.qcow2"))
        self.assertEqual(report["verdict"], "accepted")
        self.assertEqual(len(report["findings"]), 7)

        customer.run(
            "image", "upload", fixture("debian-12.qcow2"), "--name", "deb", "--region", "hal1"
        )
        image = self.image("deb")
        self.assertEqual(image["status"], "available")
        self.assertEqual(image["regions"], ["hal1"])
        self.assertEqual(self.service.leftovers(), [])

        customer.run("key", "add", "me", f"{self.customer.key}.pub")
        customer.run(
            "vm", "create", "--image", "deb", "--region", "hal1", "--size", "s-1vcpu-1gb",
            "--key", "me", "--name", "smoke",
        )  # fmt: skip
        vm = customer.json("vm", "show", "smoke")
        self.assertEqual(vm["status"], "active")
        self.assertTrue(vm["networks"]["v4"][0]["ip_address"].startswith("127."))
        self.assert_booted_from_config_drive("smoke", "smoke")
        size = int(customer.ssh("smoke", "df --output=size -B1 / | tail -1"))
        self.assertGreater(size, 20 << 30, "the root filesystem did not grow to the size's 25 GB")
        self.assertEqual(customer.ssh("smoke", "date +%Z").strip()[:2], "CE")

        customer.run("vm", "delete", "smoke")
        wait_for("the machine to end", lambda: not qemu_processes(self.base), 30)
        customer.run("image", "delete", "deb")
        wait_for("the store to be empty", lambda: not self.service.stored("hal1"), 30)


if __name__ == "__main__":
    unittest.main()
