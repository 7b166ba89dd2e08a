"""The whole way of a customer, through two regions, with the plug pulled in the middle."""

import signal
import time
import unittest

from abbild import ServiceTestCase, fixture, qemu_processes, wait_for

CREATE = ["vm", "create", "--size", "s-1vcpu-1gb", "--key", "me"]


class TwoRegions(ServiceTestCase):
    def test_1_an_upload_killed_half_way_is_continued(self):
        upload = ["image", "upload", fixture("debian-12.qcow2"), "--name", "deb", "--region", "hal1"]
        process = self.customer.start(*upload)

        def half_way():
            images = self.customer.json("image", "list")
            progress = images and images[0]["abbild"]["progress"]
            return progress and progress["total"] and progress["done"]

        received = wait_for("bytes to arrive", half_way, 60, interval=0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        self.assertEqual(self.image("deb")["status"], "NEW", "killed too late to prove anything")
        self.customer.run(*upload)
        self.assertRegex(self.customer.errors, r"continu")
        self.assertGreater(received, 0)
        image = self.image("deb")
        self.assertEqual(image["status"], "available")
        self.assertEqual(image["abbild"]["format"], "qcow2")
        self.assertEqual(len(self.customer.json("image", "list")), 1)

    def test_2_the_same_disk_compressed_is_the_same_image(self):
        self.customer.run(
            "image", "upload", fixture("debian-12.raw.gz"), "--name", "gz", "--region", "hal1"
        )
        first, second = self.image("deb"), self.image("gz")
        self.assertEqual(second["abbild"]["format"], "raw+gzip")
        self.assertEqual(first["abbild"]["digest"], second["abbild"]["digest"])
        self.assertEqual(len(self.service.stored("hal1")), 1, "stored once")
        self.customer.run("image", "delete", "gz")
        time.sleep(1)
        self.assertEqual(len(self.service.stored("hal1")), 1, "the other image still needs it")

    def test_3_the_service_gives_the_same_verdicts(self):
        for variant, rule in (("cloud-init-removed", "cloud-init"), ("xfs", "root-filesystem")):
            self.customer.run(
                "image", "upload", fixture(f"debian-12-{variant}.qcow2"), "--name", variant,
                "--region", "hal1", "--no-check", status=1,
            )  # fmt: skip
            image = self.image(variant)
            self.assertEqual(image["status"], "deleted")
            self.assertIn(rule, image["error_message"])
            self.assertEqual(image["abbild"]["verdict"], "refused")
            self.customer.run("image", "delete", variant)
        self.assertEqual(self.service.leftovers(), [])

    def test_4_machines_boot_in_both_regions(self):
        customer = self.customer
        customer.run("key", "add", "me", f"{customer.key}.pub")
        customer.run(*CREATE, "--name", "one", "--image", "deb", "--region", "hal1")
        customer.run(*CREATE, "--name", "two", "--image", "deb", "--region", "nbg1", status=1)
        customer.run("image", "add-region", "deb", "nbg1")
        self.assertEqual(self.image("deb")["regions"], ["hal1", "nbg1"])
        hal1, nbg1 = self.service.stored("hal1"), self.service.stored("nbg1")
        self.assertEqual([f.name for f in hal1], [f.name for f in nbg1])
        customer.run(*CREATE, "--name", "two", "--image", "deb", "--region", "nbg1")
        for name in ("one", "two"):
            self.assert_booted_from_config_drive(name, name)
        addresses = {
            vm["networks"]["v4"][0]["ip_address"] for vm in customer.json("vm", "list")
        }
        self.assertEqual(len(addresses), 2)

    def test_5_the_console_shows_a_login_and_keeps_its_log(self):
        self.assertIn("login:", self.customer.run("vm", "console", "one", "--log"))
        output = self.customer.run("vm", "console", "one", stdin="\n", timeout=120)
        self.assertIn("login:", output)

    def test_6_the_plug_is_pulled_during_an_import_and_a_running_machine(self):
        before = self.customer.ssh("one", "cat /proc/sys/kernel/random/boot_id")
        self.customer.run(
            "image", "upload", fixture("debian-12-nocloud-first.qcow2"), "--name", "second",
            "--region", "nbg1", "--no-wait",
        )  # fmt: skip
        wait_for(
            "the import to encode",
            lambda: self.image("second")["abbild"]["stage"] == "encoding",
            60,
            interval=0.02,
        )
        machines = qemu_processes(self.base)
        self.service.kill()
        self.assertEqual(sorted(qemu_processes(self.base)), sorted(machines))
        self.service.start()
        self.assertLess(self.service.startup_seconds, 2)
        wait_for(
            "the import to finish",
            lambda: self.image("second")["status"] == "available",
            120,
        )
        self.assertEqual(self.image("second")["abbild"]["verdict"], "accepted_with_warnings")
        self.assertEqual(self.service.leftovers(), [])
        vm = self.customer.json("vm", "show", "one")
        self.assertEqual(vm["status"], "active")
        after = self.customer.ssh("one", "cat /proc/sys/kernel/random/boot_id")
        self.assertEqual(before, after, "the machine was started anew")
        self.assertLess(self.service.peak_memory_mib(), 256)

    def test_7_a_machine_that_powers_itself_off_is_seen_off(self):
        self.customer.run("vm", "ssh", "two", "-i", self.customer.key, "--", "sudo poweroff", status=None)
        wait_for(
            "the machine to be off",
            lambda: self.customer.json("vm", "show", "two")["status"] == "off",
            120,
            interval=1,
        )

    def test_8_deleting_everything_leaves_nothing(self):
        # The image goes first: the machine keeps what it stands on.
        self.customer.run("image", "delete", "deb")
        self.customer.run("image", "delete", "second")
        self.assertEqual(len(self.service.stored("hal1")), 1)
        for name in ("one", "two"):
            self.customer.run("vm", "delete", name)
        wait_for("the machines to end", lambda: not qemu_processes(self.base), 30)
        for region in ("hal1", "nbg1"):
            wait_for("the store to be empty", lambda: not self.service.stored(region), 30)
            self.assertEqual(list((self.service.data / "regions" / region / "vms").iterdir()), [])
        self.assertEqual(self.customer.json("vm", "list"), [])


if __name__ == "__main__":
    unittest.main()
