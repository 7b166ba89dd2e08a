"""What a refusal may cost, and that it touches nothing: `abbild check` of every hostile file.

Each is refused within a second of processor time and 64 MiB of memory, and no file is opened but
the file itself, whatever its content names. strace watches the whole process.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from abbild import BINARY, ROOT

GIB = 1 << 30
SECONDS = 1.0
MEMORY_KIB = 64 << 10

# What the loader and the C library open, and where an unnamed temporary file is made.
HARMLESS = re.compile(r"/etc/ld\.so\.cache|/(usr/)?lib\S*\.so[.0-9]*|/proc/self/\S+|/sys/fs/cgroup\S*|/dev/null")
OPENED = re.compile(r'(?:open|openat|openat2|creat)\((?:[A-Z_]+(?:</[^>]*>)?, )?"([^"]*)"(.*)')


class Refusals(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.directory.cleanup)
        cls.files = Path(cls.directory.name) / "hostile"
        cls.staging = Path(cls.directory.name) / "staging"
        cls.staging.mkdir()
        subprocess.run(
            [sys.executable, ROOT / "fixtures/hostile/generate.py", "--bomb-size", str(5 * GIB), cls.files],
            check=True,
        )  # fmt: skip
        cls.expected = json.loads((cls.files / "expected.json").read_text())

    def check(self, name, *before):
        """Runs the check; its exit status, standard error, processor seconds and KiB of memory."""
        command = [*before, BINARY, "check", "--max-size", "4GiB", "--json", self.files / name]
        environment = {**os.environ, "TMPDIR": str(self.staging)}
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        with process.stderr as stream:
            errors = stream.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return process.returncode, errors, usage.ru_utime + usage.ru_stime, usage.ru_maxrss

    def test_refusals_are_quick_and_small(self):
        for name in self.expected:
            with self.subTest(name):
                status, errors, seconds, kib = self.check(name)
                self.assertIn(status, (1, 2), errors)
                self.assertNotIn("panicked", errors)
                self.assertLess(kib, MEMORY_KIB)
                # A bomb is decoded up to the limit, which takes what it takes.
                if not name.startswith("bomb"):
                    self.assertLess(seconds, SECONDS)

    def test_no_other_file_is_opened(self):
        log = Path(self.directory.name) / "strace"
        strace = ["strace", "-f", "-qq", "-e", "trace=open,openat,openat2,creat", "-o", log]
        for name in self.expected:
            if name.startswith("bomb"):
                continue
            with self.subTest(name):
                self.check(name, *strace)
                opened = [m.groups() for m in map(OPENED.search, log.read_text().splitlines()) if m]
                self.assertIn(str(self.files / name), [path for path, _ in opened])
                allowed = (str(self.files / name), str(self.staging))
                for path, rest in opened:
                    if path in allowed or path.startswith(f"{self.staging}/"):
                        continue
                    self.assertTrue(HARMLESS.fullmatch(path), f"{path} {rest}")


if __name__ == "__main__":
    unittest.main()
