"""Ignition, as Debian packages it, reads the config drive of a machine as it does on a system that it sets
up: it finds its configuration there, and obeys it."""

import json
import unittest

from abbild import ServiceTestCase, fixture

CONFIGURATION = {
    "ignition": {"version": "3.3.0"},
    "storage": {
        "files": [{"path": "/etc/from", "contents": {"source": "data:,the%20config%20drive"}}],
    },
}
INSTALL = (
    "sudo apt-get -q update && "
    "sudo DEBIAN_FRONTEND=noninteractive apt-get -qy --no-install-recommends install ignition"
)
# `files` ends with an error where there is no SELinux to ask, and has written them before.
RUN = """
sudo mkdir /tmp/root
ignition() {
    sudo timeout 120 /usr/lib/dracut/modules.d/30ignition/ignition \
        --platform openstack --root /tmp/root --log-to-stdout --stage "$@"
}
ignition fetch && ignition files
cat /tmp/root/etc/from
"""


class Ignition(ServiceTestCase):
    def test_it_reads_the_config_drive(self):
        customer = self.customer
        configuration = self.base / "config.ign"
        configuration.write_text(json.dumps(CONFIGURATION))
        customer.run(
            "image", "upload", fixture("debian-12.qcow2"), "--name", "deb", "--region", "hal1"
        )
        customer.run(
            "vm", "create", "--image", "deb", "--region", "hal1", "--size", "s-1vcpu-1gb",
            "--key", f"{customer.key}.pub", "--name", "ign", "--user-data", configuration,
        )  # fmt: skip
        self.addCleanup(customer.run, "vm", "delete", "ign")
        customer.ssh("ign", INSTALL)
        said = customer.ssh("ign", RUN)
        self.assertIn("by-label/config-2", said)
        self.assertEqual(said.splitlines()[-1], "the config drive", said)


if __name__ == "__main__":
    unittest.main()
