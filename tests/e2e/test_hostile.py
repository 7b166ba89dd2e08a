"""Files made to hurt: each gets a clear error, leaves nothing behind, and costs little."""

import json
import subprocess
import sys
import unittest

from abbild import BINARY, ROOT, ServiceTestCase

GIB = 1 << 30


class Hostile(ServiceTestCase):
    # Small, so that the bombs go off in seconds; that it can be set is tested on the way.
    settings = f"[limits]\nmax_virtual_size = {4 * GIB}\n"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.files = cls.base / "hostile"
        generator = ROOT / "fixtures/hostile/generate.py"
        subprocess.run(
            [sys.executable, generator, "--bomb-size", str(5 * GIB), cls.files], check=True
        )
        cls.expected = json.loads((cls.files / "expected.json").read_text())

    def test_check_ends_with_an_error_and_little_memory(self):
        for name in self.expected:
            with self.subTest(name):
                done = subprocess.run(
                    ["/usr/bin/time", "-f", "%M", BINARY, "check", "--max-size", "4GiB",
                     self.files / name],
                    capture_output=True, text=True, timeout=120,
                )  # fmt: skip
                self.assertIn(done.returncode, (1, 2), done.stderr)
                self.assertNotIn("panicked", done.stderr)
                self.assertLess(int(done.stderr.split()[-1]), 256 << 10, "KiB of memory")

    def test_service_refuses_with_a_reason_and_leaves_nothing(self):
        for name in self.expected:
            with self.subTest(name):
                image = f"hostile-{name}"
                self.customer.run(
                    "image", "upload", self.files / name, "--name", image, "--region", "hal1",
                    "--no-check", status=1,
                )  # fmt: skip
                shown = self.image(image)
                self.assertEqual(shown["status"], "deleted")
                self.assertEqual(shown["abbild"]["stage"], "failed")
                self.assertGreater(len(shown["error_message"]), 20)
                self.assertEqual(shown["regions"], [])
                self.assertEqual(self.service.leftovers(), [])
                self.customer.run("image", "delete", image)
        self.assertEqual(self.service.stored("hal1"), [])
        self.assertLess(self.service.peak_memory_mib(), 256)


if __name__ == "__main__":
    unittest.main()
