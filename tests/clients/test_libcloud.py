"""apache-libcloud's DigitalOcean driver."""

from clients import KEY, SIZE, ClientTestCase, raw_disk
from libcloud.common.exceptions import BaseHTTPError
from libcloud.common.types import InvalidCredsError
from libcloud.compute.providers import get_driver
from libcloud.compute.types import NodeState, Provider


def driver_for(service, token=None):
    """A driver that talks to `service`: it takes no host, but its connection does."""
    driver = get_driver(Provider.DIGITAL_OCEAN)(token or service.token)
    connection = driver.connection
    connection.host, connection.port, connection.secure = "127.0.0.1", service.port, False
    connection.connect()
    return driver


class Libcloud(ClientTestCase):
    def setUp(self):
        self.driver = driver_for(self.service)

    def test_account_regions_and_sizes(self):
        self.assertEqual(self.driver.ex_account_info()["status"], "active")
        locations = self.driver.list_locations()
        self.assertEqual([location.id for location in locations], ["hal1", "nbg1"])
        sizes = self.driver.list_sizes()
        self.assertIn(SIZE, [size.name for size in sizes])
        self.assertIsInstance(sizes[0].ram, int)

    def test_errors(self):
        with self.assertRaises(InvalidCredsError) as caught:
            driver_for(self.service, "wrong").list_nodes()
        self.assertIn("Unable to authenticate you.", str(caught.exception))
        with self.assertRaises(BaseHTTPError) as caught:
            self.driver.get_image(4711)
        self.assertIn("could not be found", str(caught.exception))

    def test_keys(self):
        key = self.driver.create_key_pair("me", KEY)
        self.assertEqual(key.public_key, KEY)
        self.assertEqual(self.driver.get_key_pair("me").fingerprint, key.fingerprint)
        self.assertEqual([pair.name for pair in self.driver.list_key_pairs()], ["me"])
        self.assertTrue(self.driver.delete_key_pair(key))
        self.assertEqual(self.driver.list_key_pairs(), [])

    def test_an_image_and_a_node(self):
        number = self.upload(raw_disk(4, b"libcloud"))
        image = self.driver.get_image(number)
        self.assertEqual((image.id, image.name), (str(number), "disk"))
        self.assertEqual(image.extra["min_disk_size"], 1)
        self.assertIn(str(number), [str(image.id) for image in self.driver.list_images()])

        size = next(size for size in self.driver.list_sizes() if size.name == SIZE)
        place = self.driver.list_locations()[0]
        # Ids as strings, nulls, and `?per_page=200` on every method.
        node = self.driver.create_node("node", size, image, place)
        self.assertEqual(node.extra["region"], "Hallstadt")
        self.wait_for(
            "the node",
            lambda: self.driver.ex_get_node_details(node.id).state == NodeState.RUNNING,
        )
        node = next(n for n in self.driver.list_nodes() if n.id == node.id)
        self.assertEqual(len(node.public_ips), 1)
        self.assertTrue(self.driver.ex_power_on_node(node))
        self.life(node, image, size)
        events = self.driver.ex_list_events()
        self.assertGreaterEqual(len(events), 3)
        event = self.driver.ex_get_event(events[0]["id"])
        self.assertEqual(event["id"], events[0]["id"])
        self.assertTrue(self.driver.destroy_node(node))
        self.assertTrue(self.driver.delete_image(image))

    def settled(self, node, state):
        """Waits until nothing is done to the node any longer, and it is in `state`."""

        def details():
            now = self.driver.ex_get_node_details(node.id)
            return now.state == state and not now.extra["locked"] and now

        return self.wait_for(f"the node to be {state}", details)

    def life(self, node, image, size):
        """Everything that the driver can do to a node."""
        driver = self.driver
        self.assertTrue(driver.ex_rename_node(node, "renamed"))
        self.assertEqual(driver.ex_get_node_details(node.id).name, "renamed")
        self.assertTrue(driver.ex_hard_reboot(node))
        self.settled(node, NodeState.RUNNING)
        self.assertTrue(driver.reboot_node(node))
        self.settled(node, NodeState.RUNNING)
        self.assertTrue(driver.create_image(node, "saved"))
        self.settled(node, NodeState.RUNNING)
        saved = next(found for found in driver.list_images() if found.name == "saved")
        self.assertTrue(driver.ex_shutdown_node(node))
        self.settled(node, NodeState.STOPPED)
        larger = next(s for s in driver.list_sizes() if s.name == "s-1vcpu-1gb")
        self.assertTrue(driver.ex_resize_node(node, larger))
        # It rebuilds from the image that the node says it has.
        self.assertTrue(driver.ex_rebuild_node(self.settled(node, NodeState.STOPPED)))
        now = self.settled(node, NodeState.RUNNING)
        self.assertEqual(now.extra["size_slug"], larger.name)
        self.assertTrue(driver.ex_shutdown_node(node))
        self.settled(node, NodeState.STOPPED)
        self.assertTrue(driver.delete_image(saved))
