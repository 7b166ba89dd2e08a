"""Boot probes of real guests: what they prove, and that nothing is left of them."""

import json
import socket
import subprocess
import threading
import unittest

from abbild import ALL_WELCOME, BOOT_SECONDS, ServiceTestCase, fixture, qemu_processes, raw_disk, wait_for

# As the host is called by a guest in QEMU's own network.
HOST = "10.0.2.2"


def raw_copy(name, directory, *commands):
    """A raw copy of a fixture, after debugfs has carried out `commands` on its root filesystem."""
    path = directory / f"{name}.raw"
    subprocess.run(
        ["qemu-img", "convert", "-O", "raw", fixture(f"{name}.qcow2"), path], check=True
    )
    table = subprocess.run(["sfdisk", "--json", path], check=True, capture_output=True)
    partitions = json.loads(table.stdout)["partitiontable"]["partitions"]
    start = max(partitions, key=lambda partition: partition["size"])["start"] * 512
    done = subprocess.run(
        ["debugfs", "-w", "-f", "-", f"{path}?offset={start}"],
        input="\n".join(commands), text=True, capture_output=True,
    )  # fmt: skip
    if done.returncode or "not found" in done.stderr:
        raise AssertionError(f"debugfs: {done.stderr}")
    return path


class Listener:
    """A port of this host that somebody might reach who should not."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.guests = 0
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            try:
                self.socket.accept()[0].close()
            except OSError:
                return
            self.guests += 1


class ProbeTestCase(ServiceTestCase):
    def upload(self, path, name):
        self.customer.run(
            "image", "upload", path, "--name", name, "--region", "hal1", "--no-check"
        )
        self.addCleanup(self.customer.run, "image", "delete", name)

    def probe(self, name, status):
        """What the command says, the log, and whether there is a picture."""
        log, picture = self.base / f"{name}.log", self.base / f"{name}.png"
        found = self.customer.json(
            "image", "probe", name, "--log", log, "--screenshot", picture,
            status=status, timeout=900,
        )  # fmt: skip
        self.assertEqual(picture.read_bytes()[:4], b"\x89PNG")
        self.assert_nothing_is_left()
        return found["probe"], self.findings(name), log.read_text()

    def findings(self, name):
        report = self.customer.json("image", "report", name)
        return {finding["rule"]: finding for finding in report["findings"]}

    def assert_nothing_is_left(self):
        self.assertEqual(list(self.service.data.glob("regions/*/probes/*")), [])
        probes = self.service.data / "regions/hal1/probes"
        self.assertEqual(qemu_processes(probes), [])

    def assert_proven(self, findings, outcome, *rules):
        for rule in rules:
            finding = findings[rule]
            self.assertEqual((finding["basis"], finding["outcome"]), ("proven", outcome), finding)


class WholeBoots(ProbeTestCase):
    settings = "[probe]\ntime_limit_seconds = 420\n"

    def test_a_sound_image_is_proven_and_reaches_nobody(self):
        listener = Listener()
        self.addCleanup(listener.socket.close)
        reach = self.base / "reach.cfg"
        reach.write_text(
            "#cloud-config\nruncmd:\n - [bash, -c, 'timeout 10 bash -c \"echo > "
            f'/dev/tcp/{HOST}/{listener.port}" && echo the-host-was-reached > /dev/ttyS0 '
            "|| echo nobody-was-reached > /dev/ttyS0']\n"
        )
        image = raw_copy(
            "debian-12", self.base, f"write {reach} /etc/cloud/cloud.cfg.d/99-reach.cfg"
        )
        self.upload(image, "sound")
        probe, findings, log = self.probe("sound", 0)
        self.assertEqual(probe["end"], "complete", probe)
        steps = [milestone["name"] for milestone in probe["milestones"]]
        self.assertEqual(
            sorted(steps),
            sorted(
                ["firmware", "boot-loader", "kernel", "init", "cloud-init", "login"]
                + ["cloud-init-finished", "sshd"]
            ),
        )
        seconds = [milestone["seconds"] for milestone in probe["milestones"]]
        self.assertEqual(seconds, sorted(seconds))
        banner = probe["milestones"][steps.index("sshd")]["text"]
        self.assertTrue(banner.startswith("SSH-2.0-OpenSSH"), banner)
        traces = probe["traces"]
        self.assertTrue(traces["datasource"].startswith("DataSourceConfigDrive"), traces)
        self.assertEqual((traces["user"], traces["key"]), ("debian", True))
        self.assertEqual(traces["errors"], [])
        self.assert_proven(
            findings, "pass", "boot-loader", "kernel", "serial-console", "cloud-init",
            "datasource-order", "cloud-user", "disk-growth", "sshd",
        )  # fmt: skip
        # Its network is up, and leads nowhere.
        self.assertIn("10.0.2.15", log)
        self.assertIn("nobody-was-reached", log)
        self.assertNotIn("the-host-was-reached", log)
        self.assertEqual(listener.guests, 0)
        self.assertEqual(self.image("sound")["abbild"]["verdict"], "accepted")

        # A machine of the same image does reach the host, so the probe was kept from it.
        customer = self.customer
        customer.run(
            "vm", "create", "--image", "sound", "--region", "hal1", "--size", "s-1vcpu-1gb",
            "--key", f"{customer.key}.pub", "--name", "control",
        )  # fmt: skip
        self.addCleanup(customer.run, "vm", "delete", "control")

        def has_tried():
            return "-was-reached" in customer.run("vm", "console", "control", "--log")

        wait_for("the machine's attempt", has_tried, BOOT_SECONDS, interval=1)
        self.assertIn("the-host-was-reached", customer.run("vm", "console", "control", "--log"))
        self.assertEqual(listener.guests, 1)

    def test_an_image_without_an_ssh_server_is_proven_but_for_that(self):
        self.upload(fixture("debian-12-sshd-removed.qcow2"), "without-sshd")
        probe, findings, _ = self.probe("without-sshd", 1)
        self.assertEqual(probe["end"], "complete", probe)
        self.assert_proven(findings, "warning", "sshd")
        self.assertTrue(findings["sshd"]["remedies"])
        self.assert_proven(
            findings, "pass", "boot-loader", "kernel", "cloud-init", "datasource-order", "cloud-user"
        )

    def test_a_boot_loader_that_stops_is_seen_with_its_picture(self):
        image = raw_copy("debian-12", self.base, "unlink /boot/grub/i386-pc")
        self.upload(image, "stops")
        probe, findings, log = self.probe("stops", 1)
        self.assertEqual(probe["end"], "trouble", probe)
        self.assertEqual(probe["milestones"][-1]["name"], "boot-loader-stopped")
        self.assertIn("grub rescue>", log)
        self.assert_proven(findings, "warning", "boot-loader")
        self.assertEqual(findings["sshd"]["basis"], "inferred")
        image = self.image("stops")
        self.assertEqual(image["status"], "available")
        self.assertEqual(image["abbild"]["verdict"], "accepted_with_warnings")


class ShortLimits(ProbeTestCase):
    settings = '[requirements]\ncloud-init = "note"\n[probe]\ntime_limit_seconds = 200\n'

    def test_an_image_without_cloud_init_is_booted_all_the_same(self):
        self.upload(fixture("debian-12-cloud-init-removed.qcow2"), "without-cloud-init")
        probe, findings, _ = self.probe("without-cloud-init", 1)
        self.assertFalse(probe["traces"]["cloud_init_finished"])
        self.assertFalse(probe["traces"]["key"])
        self.assert_proven(findings, "pass", "boot-loader", "kernel", "serial-console")
        self.assert_proven(findings, "warning", "sshd")
        cloud_init = findings["cloud-init"]
        self.assertEqual((cloud_init["basis"], cloud_init["outcome"]), ("inferred", "note"))


class Killed(ProbeTestCase):
    settings = ALL_WELCOME + "[probe]\ntime_limit_seconds = 12\nmemory = '64 MiB'\n"

    def test_a_probe_is_repeated_after_its_service_was_killed(self):
        disk = self.base / "halts.raw"
        disk.write_bytes(raw_disk(8))
        self.upload(disk, "halts")
        action = self.customer.json("image", "probe", "halts", "--no-wait")
        probes = self.service.data / "regions/hal1/probes"
        first = wait_for("the machine", lambda: qemu_processes(probes), 60)
        self.service.kill()
        # It outlives the service, and nothing else does away with it.
        self.assertEqual(qemu_processes(probes), first)
        self.service.start()
        self.assertEqual([p for p in qemu_processes(probes) if p in first], [])
        again = self.customer.json("image", "probe", "halts", status=1)
        self.assertEqual(str(again["probe"]["action_id"]), str(action["id"]))
        self.assertEqual(again["probe"]["end"], "time-limit")
        self.assert_nothing_is_left()


if __name__ == "__main__":
    unittest.main()
