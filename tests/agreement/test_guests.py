"""What the guests say of themselves once they run, against what we said of their images."""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from abbild import BINARY, ROOT, fixture, index

# Each of these has something that no other has, and an SSH server that lets us in.
GUESTS = ["debian-12", "ext3", "mbr", "dirty", "split", "lvm", "bios-uefi", "uefi", "sectors-4k"]
# These let nobody in, so they tell it on the console.
SILENT = ["sshd-disabled", "cloud-init-disabled"]

# One line for each question. The default user is the one whom cloud-init lets use sudo. ds-identify is cloud-init's own reader of its configuration in shell.
QUESTIONS = """
echo "id=$(. /etc/os-release; echo $ID)"
echo "version=$(. /etc/os-release; echo $VERSION_ID)"
echo "architecture=$(uname -m)"
echo "kernel=$(uname -r)"
echo "root=$(findmnt -no FSTYPE /)"
echo "mounts=$(findmnt --fstab --evaluate -no TARGET | xargs)"
echo "cmdline=$(cat /proc/cmdline)"
echo "firmware=$([ -d /sys/firmware/efi ] && echo uefi || echo bios)"
echo "ssh=$(systemctl is-enabled ssh)"
echo "cloud_init=$(cloud-init --version 2>&1)"
echo "cloud_init_status=$(cloud-init status | head -n 1)"
echo "datasources=$(sudo sed -n 's/^DSLIST=//p' /run/cloud-init/ds-identify.log)"
echo "datasource=$(sudo cloud-init query v1.cloud_name) $(sudo cloud-init query v1.subplatform)"
echo "default_user=$(sudo sed -n 's/^# User rules for //p' /etc/sudoers.d/90-cloud-init-users)"
"""

# Runs the questions on every start and switches the machine off.
UNIT = """[Unit]
After=multi-user.target
[Service]
Type=oneshot
StandardOutput=tty
StandardError=null
TTYPath=/dev/ttyS0
ExecStart=-/bin/sh /questions
ExecStart=/bin/systemctl poweroff --no-block
"""


def facts_of(path):
    done = subprocess.run([BINARY, "check", path, "--json"], capture_output=True, text=True)
    return json.loads(done.stdout)["facts"]


def answers(output):
    """The lines `key=value` of a guest's output."""
    pairs = (line.strip().split("=", 1) for line in output.splitlines() if "=" in line)
    return {key: value for key, value in pairs if key.isidentifier()}


def ask(image):
    """Boots an image and asks it over SSH."""
    done = subprocess.run(
        [ROOT / "fixtures/guest/boot-test", image["file"], QUESTIONS],
        capture_output=True,
        text=True,
        timeout=1800,
    )
    if done.returncode:
        raise AssertionError(f"{image['name']}: {done.stdout}{done.stderr}")
    return answers(done.stdout)


def config_drive(base):
    """A drive that names a machine and nothing else: without one, cloud-init does not run."""
    drive, metadata = base / "config", base / "meta_data.json"
    metadata.write_text('{"uuid": "83679162-1378-4288-a2d4-70e13ec132aa", "hostname": "asked"}')
    for command in [
        ["mformat", "-C", "-i", drive, "-v", "config-2", "-T", "2880", "::"],
        ["mmd", "-i", drive, "::openstack", "::openstack/latest"],
        ["mcopy", "-i", drive, metadata, "::openstack/latest/"],
    ]:
        subprocess.run(command, check=True)
    return drive


def ask_on_console(image):
    """Puts a unit with the questions into a copy of an image, boots that, and reads the console."""
    with tempfile.TemporaryDirectory(prefix="abbild-agreement-") as directory:
        base = Path(directory)
        raw, console = base / "disk", base / "console"
        subprocess.run(
            ["qemu-img", "convert", "-O", "raw", fixture(image["file"]), raw], check=True
        )
        (base / "questions").write_text(QUESTIONS)
        (base / "unit").write_text(UNIT)
        root = facts_of(fixture(image["file"]))["partition_table"]["partitions"][0]["offset"]
        wants, unit = "/etc/systemd/system/multi-user.target.wants", "/etc/systemd/system/ask.service"
        commands = [
            f"write {base / 'questions'} /questions",
            f"write {base / 'unit'} {unit}",
            f"symlink {wants}/ask.service {unit}",
            # The login would hang up the line while the guest still answers.
            "symlink /etc/systemd/system/serial-getty@ttyS0.service /dev/null",
        ]
        subprocess.run(
            ["debugfs", "-w", "-f", "-", f"{raw}?offset={root}"],
            input="\n".join(commands), text=True, check=True, capture_output=True,
        )  # fmt: skip
        subprocess.run(
            [
                "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
                "-machine", "pc", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "1024",
                "-no-reboot", "-drive", f"file={raw},format=raw,if=virtio,cache=unsafe",
                "-drive", f"file={config_drive(base)},format=raw,if=virtio",
                "-serial", f"file:{console}",
            ],
            check=True, timeout=1800,
        )  # fmt: skip
        return answers(console.read_text(errors="replace"))


class Guests(unittest.TestCase):
    def compare(self, image, said):
        facts = facts_of(fixture(image["file"]))
        self.assertEqual(said["id"], facts["os"]["id"])
        self.assertEqual(said["version"], facts["os"]["version"])
        self.assertEqual(said["architecture"], facts["architecture"]["value"])
        self.assertIn(said["kernel"], [kernel["value"] for kernel in facts["kernels"]])
        self.assertEqual(said["root"], facts["root"]["filesystem"])
        mounts = ["/", *(mount["path"] for mount in facts["mounts"])]
        self.assertEqual(sorted(said["mounts"].split()), sorted(mounts))
        self.assertTrue(facts["boot"][said["firmware"]], facts["boot"])
        console = f"console={facts['serial_console']['value']}"
        self.assertIn(console, said["cmdline"].split())
        self.assertEqual(said["ssh"], facts["sshd"]["enablement"]["value"])
        cloud_init = facts["cloud_init"]
        self.assertEqual(
            said["cloud_init"].split()[-1].split("-")[0], cloud_init["version"]["value"]
        )
        runs = said["cloud_init_status"] != "status: disabled"
        self.assertEqual(runs, cloud_init["enablement"]["value"] == "enabled")
        return cloud_init

    def test_guests_agree(self):
        for image in chosen(GUESTS):
            with self.subTest(image["name"]):
                said = ask(image)
                cloud_init = self.compare(image, said)
                listed = cloud_init["datasource_list"]["value"]
                self.assertEqual(said["datasources"].split(), listed)
                self.assertTrue(said["datasource"].startswith("configdrive"), said)
                self.assertEqual(said["default_user"], cloud_init["default_user"]["value"])

    def test_silent_guests_agree(self):
        for image in chosen(SILENT):
            with self.subTest(image["name"]):
                self.compare(image, ask_on_console(image))


def chosen(names):
    limit = os.environ.get("IMAGES", "").split()
    return [
        image
        for image in index()
        if image["name"] in names and (not limit or image["name"] in limit)
    ]


if __name__ == "__main__":
    unittest.main()
