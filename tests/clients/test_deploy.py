"""apache-libcloud's `deploy_node`: a machine is made, and a script runs in it over SSH, with a real
guest and nothing but what the client itself knows."""

import logging
import socket
import unittest

from abbild import BOOT_SECONDS, fixture
from clients import ClientTestCase
from libcloud.compute.deployment import ScriptDeployment
from test_libcloud import driver_for


def may_serve_ssh():
    """Whether a process of this user may have port 22, where libcloud looks for the guest."""
    with socket.socket() as listener:
        try:
            listener.bind(("127.251.7.3", 22))
        except PermissionError:
            return False
        except OSError:  # somebody has it, on all addresses
            return True
    return True


class Deploy(ClientTestCase):
    def setUp(self):
        # It is loud about every attempt before the guest answers.
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)

    @unittest.skipUnless(may_serve_ssh(), "port 22 is for root alone on this host")
    def test_a_script_runs_in_a_new_node(self):
        customer = self.customer
        customer.run(
            "image", "upload", fixture("debian-12.qcow2"), "--name", "deb", "--region", "hal1"
        )
        driver = driver_for(self.service)
        key = driver.create_key_pair("me", (customer.key.with_suffix(".pub")).read_text())
        image = next(image for image in driver.list_images() if image.name == "deb")
        script = ScriptDeployment("#!/bin/sh\nhostname; id -un\n", name="greet.sh", delete=True)
        node = driver.deploy_node(
            deploy=script,
            ssh_username="debian",
            ssh_key=str(customer.key),
            timeout=BOOT_SECONDS,
            wait_period=1,
            name="deployed",
            size=next(size for size in driver.list_sizes() if size.name == "s-1vcpu-1gb"),
            image=image,
            location=driver.list_locations()[0],
            ex_create_attr={"ssh_keys": [key.fingerprint]},
        )
        self.assertEqual(script.stdout.split(), ["deployed", "debian"], script.stderr)
        self.assertEqual(script.exit_status, 0)
        self.assertTrue(driver.destroy_node(node))
        self.wait_for("the node to go", lambda: not driver.list_nodes())
