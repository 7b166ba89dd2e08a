"""pydo, DigitalOcean's own Python client. It sends its token over TLS only."""

from abbild import free_port
from azure.core.exceptions import HttpResponseError
from clients import FINGERPRINT, KEY, SIZE, ClientTestCase, raw_disk
from pydo import Client

PORT = free_port()


class Pydo(ClientTestCase):
    settings = f'{ClientTestCase.settings}\n[tls]\nlisten = "127.0.0.1:{PORT}"\n'

    def setUp(self):
        self.client = self.with_token(self.service.token)

    def with_token(self, token):
        return Client(
            token=token,
            endpoint=f"https://127.0.0.1:{PORT}",
            connection_verify=str(self.service.data / "tls/ca.pem"),
        )

    def refused(self, status, operation, *arguments, **options):
        with self.assertRaises(HttpResponseError) as caught:
            operation(*arguments, **options)
        self.assertEqual(caught.exception.status_code, status)
        body = caught.exception.response.json()
        self.assertTrue(body["message"])
        self.assertTrue(body["request_id"])
        return body

    def test_account_regions_and_sizes(self):
        account = self.client.account.get()["account"]
        self.assertEqual(account["status"], "active")
        self.assertGreater(account["droplet_limit"], 0)
        regions = self.client.regions.list(per_page=1, page=2)
        self.assertEqual(regions["meta"]["total"], 2)
        self.assertEqual([region["slug"] for region in regions["regions"]], ["nbg1"])
        self.assertIn("page=1", regions["links"]["pages"]["prev"])
        sizes = self.client.sizes.list(per_page=200)["sizes"]
        self.assertIn(SIZE, [size["slug"] for size in sizes])

    def test_errors(self):
        body = self.refused(401, self.with_token("wrong").account.get)
        self.assertEqual(body["message"], "Unable to authenticate you.")
        # A documented 404 is returned, not raised.
        missing = self.client.images.get(4711)
        self.assertEqual(missing["id"], "not_found")
        missing = self.client.droplets.get(4711)
        self.assertEqual(missing["id"], "not_found")
        body = self.refused(422, self.client.ssh_keys.create, {"name": "x", "public_key": "no"})
        self.assertEqual(body["id"], "unprocessable_entity")
        self.refused(422, self.client.images.create_custom, {"name": "x", "region": "mars"})

    def test_keys(self):
        keys = self.client.ssh_keys
        key = keys.create({"name": "me", "public_key": KEY})["ssh_key"]
        self.assertEqual(key["fingerprint"], FINGERPRINT)
        self.assertEqual(key["public_key"], KEY)
        # In the path pydo writes the fingerprint's colons as %3A.
        self.assertEqual(keys.get(FINGERPRINT)["ssh_key"], key)
        self.assertEqual(keys.get(key["id"])["ssh_key"], key)
        renamed = keys.update(FINGERPRINT, {"name": "you"})["ssh_key"]
        self.assertEqual(renamed["name"], "you")
        self.assertEqual(keys.list()["meta"]["total"], 1)
        self.assertIsNone(keys.delete(FINGERPRINT))
        self.assertEqual(keys.list()["ssh_keys"], [])

    def test_tags(self):
        number, tags = self.upload(raw_disk(4, b"tags")), self.client.tags
        tag = tags.create({"name": "Web"})["tag"]
        self.assertEqual((tag["name"], tag["resources"]["count"]), ("Web", 0))
        resources = {"resources": [{"resource_id": str(number), "resource_type": "image"}]}
        self.assertIsNone(tags.assign_resources("Web", resources))
        self.assertEqual(tags.get("web")["tag"]["resources"]["images"]["count"], 1)
        tagged = self.client.images.list(tag_name="web")["images"]
        self.assertEqual([image["id"] for image in tagged], [number])
        self.assertEqual(tags.list()["meta"]["total"], 1)
        self.assertIsNone(tags.unassign_resources("Web", resources))
        self.assertIsNone(tags.delete("Web"))
        self.assertEqual(tags.get("Web")["id"], "not_found")
        self.refused(422, tags.create, {"name": "with space"})

    def test_lists_that_are_empty_here(self):
        snapshots = self.client.snapshots.list()
        self.assertEqual((snapshots["snapshots"], snapshots["links"]), ([], {}))
        self.assertEqual(self.client.firewalls.list()["firewalls"], [])

    def test_an_image_and_a_droplet(self):
        number = self.upload(raw_disk(4, b"pydo"))
        images, actions = self.client.images, self.client.image_actions
        image = images.get(number)["image"]
        self.assertEqual((image["status"], image["error_message"]), ("available", ""))
        listed = images.list(private=True, per_page=20, page=1)
        self.assertIn(number, [image["id"] for image in listed["images"]])
        change = {"name": "renamed", "distribution": "Debian", "description": "d"}
        changed = images.update(number, change)["image"]
        self.assertEqual({field: changed[field] for field in change}, change)

        transfer = {"type": "transfer", "region": "nbg1"}
        action = actions.post(number, transfer)["action"]
        self.assertEqual((action["type"], action["region_slug"]), ("transfer", "nbg1"))
        done = self.wait_for(
            "the transfer",
            lambda: (
                (a := actions.get(number, action["id"])["action"])["completed_at"] and a
            ),
        )
        self.assertEqual(done["status"], "completed")
        same = self.client.actions.get(action["id"])["action"]
        self.assertEqual(same, done)
        self.assertEqual(actions.list(number)["meta"]["total"], 2)
        self.assertGreaterEqual(self.client.actions.list()["meta"]["total"], 2)
        self.assertEqual(images.get(number)["image"]["regions"], ["hal1", "nbg1"])
        self.refused(422, actions.post, number, {"type": "transfer", "region": "mars"})

        self.droplet(number)
        self.assertIsNone(images.delete(number))
        self.assertEqual(images.get(number)["image"]["status"], "deleted")

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
        created = droplets.create(request)
        number = created["droplet"]["id"]
        self.assertEqual(created["links"]["actions"][0]["rel"], "create")
        active = self.wait_for(
            "the droplet",
            lambda: (
                (d := droplets.get(number)["droplet"])["status"] == "active" and d
            ),
        )
        self.assertEqual(active["networks"]["v4"][0]["type"], "public")
        self.assertEqual(active["image"]["id"], image)
        listed = droplets.list(name="WEB")["droplets"]
        self.assertEqual([droplet["id"] for droplet in listed], [number])
        action = actions.post(number, {"type": "power_on"})["action"]
        self.assertEqual(action["status"], "completed")
        shown = actions.get(number, action["id"])["action"]
        self.assertEqual(shown["resource_id"], number)
        self.assertEqual(actions.list(number)["meta"]["total"], 2)
        self.life(number, image)
        self.refused(422, droplets.create, {**request, "size": "huge"})
        for listed, key in [
            (droplets.list_backups, "backups"),
            (droplets.list_kernels, "kernels"),
            (droplets.list_neighbors, "droplets"),
        ]:
            self.assertEqual(listed(number)[key], [], key)
        self.assertIsNone(droplets.destroy(number))
        gone = droplets.get(number)
        self.assertEqual(gone["id"], "not_found")

    def life(self, number, image):
        """What is done to a droplet, one thing at a time."""
        droplets, actions = self.client.droplets, self.client.droplet_actions

        def act(**request):
            action = actions.post(number, request)["action"]
            self.assertEqual(action["type"], request["type"])
            done = self.wait_for(
                request["type"],
                lambda: (
                    (a := actions.get(number, action["id"])["action"])["completed_at"] and a
                ),
            )
            self.assertEqual(done["status"], "completed", done)
            return droplets.get(number)["droplet"]

        self.assertEqual(act(type="rename", name="other")["name"], "other")
        act(type="power_cycle")
        act(type="snapshot", name="saved")
        snapshots = droplets.list_snapshots(number)["snapshots"]
        self.assertEqual([snapshot["name"] for snapshot in snapshots], ["saved"])
        saved = snapshots[0]["id"]
        listed = self.client.snapshots.list(resource_type="droplet")["snapshots"]
        self.assertEqual([snapshot["id"] for snapshot in listed], [str(saved)])
        self.assertEqual(act(type="shutdown")["status"], "off")
        self.refused(422, actions.post, number, {"type": "reboot"})
        self.refused(422, actions.post, number, {"type": "password_reset"})
        resized = act(type="resize", size="s-1vcpu-1gb", disk=True)
        self.assertEqual((resized["memory"], resized["disk"]), (1024, 25))
        restored = act(type="restore", image=saved)
        self.assertEqual((restored["status"], restored["image"]["id"]), ("active", saved))
        self.assertEqual(act(type="rebuild", image=image)["image"]["id"], image)
        act(type="reboot")
        self.client.tags.create({"name": "some"})
        tagged = {"resources": [{"resource_id": str(number), "resource_type": "droplet"}]}
        self.client.tags.assign_resources("some", tagged)
        begun = actions.post_by_tag({"type": "power_off"}, tag_name="some")["actions"]
        self.assertEqual(len(begun), 1)
        self.wait_for("power_off", lambda: not droplets.get(number)["droplet"]["locked"])
        self.assertIsNone(self.client.snapshots.delete(str(saved)))
        self.assertEqual(droplets.list_snapshots(number)["snapshots"], [])
        self.assertIsNone(self.client.tags.delete("some"))
