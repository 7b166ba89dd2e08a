"""schemathesis sends what our own OpenAPI document allows, and what it does not, to every operation,
and finds every answer that the document does not tell of."""

import os
import subprocess
import sys
from pathlib import Path

from clients import HERE, KEY, ClientTestCase, raw_disk


class Schemathesis(ClientTestCase):
    # Machines are real; one is enough.
    settings = ClientTestCase.settings + "[quotas]\ndroplets = 1\n[fetch]\nenabled = false\n"

    def test_no_answer_contradicts_the_document(self):
        self.upload(raw_disk(4, b"schemathesis"))
        (self.base / "key.pub").write_text(KEY)
        self.customer.json("key", "add", "laptop", self.base / "key.pub")
        done = subprocess.run(
            [
                Path(sys.executable).with_name("schemathesis"),
                f"--config-file={HERE / 'schemathesis.toml'}",
                "run",
                f"{self.service.url}/v2/openapi.json",
                f"--header=Authorization: Bearer {self.service.token}",
                f"--max-examples={os.environ.get('EXAMPLES', '20')}",
                "--generation-database=none",
                "--no-color",
            ],
            cwd=self.base,
            env={**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE)},
            capture_output=True,
            text=True,
            timeout=1800,
        )
        self.assertEqual(done.returncode, 0, done.stdout[-20000:] + done.stderr[-5000:])
