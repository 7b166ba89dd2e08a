"""pydo, DigitalOcean's own Python client."""

from azure.core.exceptions import HttpResponseError
from clients import FINGERPRINT, KEY, SIZE, ClientTestCase, raw_disk
from pydo import Client


class Pydo(ClientTestCase):
    def setUp(self):
        self.client = self.with_token(self.service.token)

    def with_token(self, token):
        return Client(token=token, endpoint=self.service.url)

    def call(self, operation, *arguments, **options):
        # Without this pydo sends its token over TLS only.
        return operation(*arguments, enforce_https=False, **options)

    def refused(self, status, operation, *arguments, **options):
        with self.assertRaises(HttpResponseError) as caught:
            self.call(operation, *arguments, **options)
        self.assertEqual(caught.exception.status_code, status)
        body = caught.exception.response.json()
        self.assertTrue(body["message"])
        self.assertTrue(body["request_id"])
        return body

    def test_account_regions_and_sizes(self):
        account = self.call(self.client.account.get)["account"]
        self.assertEqual(account["status"], "active")
        self.assertGreater(account["droplet_limit"], 0)
        regions = self.call(self.client.regions.list, per_page=1, page=2)
        self.assertEqual(regions["meta"]["total"], 2)
        self.assertEqual([region["slug"] for region in regions["regions"]], ["nbg1"])
        self.assertIn("page=1", regions["links"]["pages"]["prev"])
        sizes = self.call(self.client.sizes.list, per_page=200)["sizes"]
        self.assertIn(SIZE, [size["slug"] for size in sizes])

    def test_errors(self):
        body = self.refused(401, self.with_token("wrong").account.get)
        self.assertEqual(body["message"], "Unable to authenticate you.")
        # A documented 404 is returned, not raised.
        missing = self.call(self.client.images.get, 4711)
        self.assertEqual(missing["id"], "not_found")
        missing = self.call(self.client.droplets.get, 4711)
        self.assertEqual(missing["id"], "not_found")
        body = self.refused(422, self.client.ssh_keys.create, {"name": "x", "public_key": "no"})
        self.assertEqual(body["id"], "unprocessable_entity")
        self.refused(422, self.client.images.create_custom, {"name": "x", "region": "mars"})

    def test_keys(self):
        keys = self.client.ssh_keys
        key = self.call(keys.create, {"name": "me", "public_key": KEY})["ssh_key"]
        self.assertEqual(key["fingerprint"], FINGERPRINT)
        self.assertEqual(key["public_key"], KEY)
        # In the path pydo writes the fingerprint's colons as %3A.
        self.assertEqual(self.call(keys.get, FINGERPRINT)["ssh_key"], key)
        self.assertEqual(self.call(keys.get, key["id"])["ssh_key"], key)
        renamed = self.call(keys.update, FINGERPRINT, {"name": "you"})["ssh_key"]
        self.assertEqual(renamed["name"], "you")
        self.assertEqual(self.call(keys.list)["meta"]["total"], 1)
        self.assertIsNone(self.call(keys.delete, FINGERPRINT))
        self.assertEqual(self.call(keys.list)["ssh_keys"], [])

    def test_tags(self):
        number, tags = self.upload(raw_disk(4, b"tags")), self.client.tags
        tag = self.call(tags.create, {"name": "Web"})["tag"]
        self.assertEqual((tag["name"], tag["resources"]["count"]), ("Web", 0))
        resources = {"resources": [{"resource_id": str(number), "resource_type": "image"}]}
        self.assertIsNone(self.call(tags.assign_resources, "Web", resources))
        self.assertEqual(self.call(tags.get, "web")["tag"]["resources"]["images"]["count"], 1)
        tagged = self.call(self.client.images.list, tag_name="web")["images"]
        self.assertEqual([image["id"] for image in tagged], [number])
        self.assertEqual(self.call(tags.list)["meta"]["total"], 1)
        self.assertIsNone(self.call(tags.unassign_resources, "Web", resources))
        self.assertIsNone(self.call(tags.delete, "Web"))
        self.assertEqual(self.call(tags.get, "Web")["id"], "not_found")
        self.refused(422, tags.create, {"name": "with space"})

    def test_lists_that_are_empty_here(self):
        snapshots = self.call(self.client.snapshots.list)
        self.assertEqual((snapshots["snapshots"], snapshots["links"]), ([], {}))
        self.assertEqual(self.call(self.client.firewalls.list)["firewalls"], [])

    def test_an_image_and_a_droplet(self):
        number = self.upload(raw_disk(4, b"pydo"))
        images, actions = self.client.images, self.client.image_actions
        image = self.call(images.get, number)["image"]
        self.assertEqual((image["status"], image["error_message"]), ("available", ""))
        listed = self.call(images.list, private=True, per_page=20, page=1)
        self.assertIn(number, [image["id"] for image in listed["images"]])
        change = {"name": "renamed", "distribution": "Debian", "description": "d"}
        changed = self.call(images.update, number, change)["image"]
        self.assertEqual({field: changed[field] for field in change}, change)

        transfer = {"type": "transfer", "region": "nbg1"}
        action = self.call(actions.post, number, transfer)["action"]
        self.assertEqual((action["type"], action["region_slug"]), ("transfer", "nbg1"))
        done = self.wait_for(
            "the transfer",
            lambda: (
                (a := self.call(actions.get, number, action["id"])["action"])["completed_at"] and a
            ),
        )
        self.assertEqual(done["status"], "completed")
        same = self.call(self.client.actions.get, action["id"])["action"]
        self.assertEqual(same, done)
        self.assertEqual(self.call(actions.list, number)["meta"]["total"], 2)
        self.assertGreaterEqual(self.call(self.client.actions.list)["meta"]["total"], 2)
        self.assertEqual(self.call(images.get, number)["image"]["regions"], ["hal1", "nbg1"])
        self.refused(422, actions.post, number, {"type": "transfer", "region": "mars"})

        self.droplet(number)
        self.assertIsNone(self.call(images.delete, number))
        self.assertEqual(self.call(images.get, number)["image"]["status"], "deleted")

    def droplet(self, image):
        droplets, actions = self.client.droplets, self.client.droplet_actions
        request = {
            "name": "web",
            "region": "hal1",
            "size": SIZE,
            "image": image,
            "ssh_keys": [],
            "backups": False,
            "ipv6": False,
            "monitoring": False,
            "tags": [],
            "user_data": None,
        }
        created = self.call(droplets.create, request)
        number = created["droplet"]["id"]
        self.assertEqual(created["links"]["actions"][0]["rel"], "create")
        active = self.wait_for(
            "the droplet",
            lambda: (
                (d := self.call(droplets.get, number)["droplet"])["status"] == "active" and d
            ),
        )
        self.assertEqual(active["networks"]["v4"][0]["type"], "public")
        self.assertEqual(active["image"]["id"], image)
        listed = self.call(droplets.list, name="WEB")["droplets"]
        self.assertEqual([droplet["id"] for droplet in listed], [number])
        action = self.call(actions.post, number, {"type": "power_on"})["action"]
        self.assertEqual(action["status"], "completed")
        shown = self.call(actions.get, number, action["id"])["action"]
        self.assertEqual(shown["resource_id"], number)
        self.assertEqual(self.call(actions.list, number)["meta"]["total"], 2)
        self.refused(422, droplets.create, {**request, "size": "huge"})
        for listed, key in [
            (droplets.list_snapshots, "snapshots"),
            (droplets.list_backups, "backups"),
            (droplets.list_kernels, "kernels"),
            (droplets.list_neighbors, "droplets"),
        ]:
            self.assertEqual(self.call(listed, number)[key], [], key)
        self.assertIsNone(self.call(droplets.destroy, number))
        self.assertEqual(self.call(droplets.get, number)["id"], "not_found")
