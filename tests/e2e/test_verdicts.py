"""`abbild check` on the whole family of guests, and on files that are none."""

import json
import subprocess
import tempfile
import unittest
from pathlib import Path

from abbild import BINARY, fixture, index

RULES = [
    "operating-system",
    "image-format",
    "virtual-size",
    "root-filesystem",
    "cloud-init",
    "datasource-order",
    "sshd",
]


def check(path, *options):
    done = subprocess.run(
        [BINARY, "check", path, *options], capture_output=True, text=True, timeout=600
    )
    return done.returncode, done.stdout, done.stderr


class Verdicts(unittest.TestCase):
    def test_every_member_of_the_family_gets_its_verdict(self):
        for entry in index():
            with self.subTest(entry["name"]):
                status, output, _ = check(fixture(entry["file"]), "--json")
                report = json.loads(output)
                self.assertEqual(report["verdict"], entry["verdict"])
                self.assertEqual(status, 1 if entry["verdict"] == "refused" else 0)
                self.assertEqual([f["rule"] for f in report["findings"]], RULES)
                unmet = {
                    f["rule"]: f["outcome"]
                    for f in report["findings"]
                    if f["outcome"] not in ("pass", "unknown")
                }
                self.assertEqual(unmet, entry["findings"])
                for finding in report["findings"]:
                    if finding["outcome"] in ("warning", "failure"):
                        self.assertTrue(finding["remedies"], finding)

    def test_evidence_names_path_and_line(self):
        _, output, _ = check(fixture("debian-12-nocloud-first.qcow2"), "--json")
        findings = {f["rule"]: f for f in json.loads(output)["findings"]}
        evidence = findings["datasource-order"]["evidence"][0]
        self.assertTrue(evidence["path"].startswith("/etc/cloud/cloud.cfg"), evidence)
        self.assertGreater(evidence["line"], 0)

    def test_german_and_english_differ(self):
        path = fixture("debian-12-sshd-removed.qcow2")
        english, german = check(path, "--lang", "en")[1], check(path, "--lang", "de")[1]
        self.assertNotEqual(english, german)
        for text in (english, german):
            # The first line begins with the path as it was given.
            self.assertLessEqual(max(map(len, text.splitlines()[1:])), 80, text)

    def test_what_cannot_be_read_ends_with_status_two(self):
        with tempfile.TemporaryDirectory() as directory:
            empty = Path(directory) / "empty.qcow2"
            empty.touch()
            noise = Path(directory) / "noise.img"
            noise.write_bytes(bytes(range(256)) * 4096)
            for path in (empty, noise, Path(directory) / "missing.img"):
                status, _, error = check(path)
                self.assertEqual(status, 2, path)
                self.assertTrue(error.startswith("error: "), error)
                self.assertNotIn("panicked", error)


if __name__ == "__main__":
    unittest.main()
