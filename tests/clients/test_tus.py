"""tuspy and tus-js-client send uploads, stop in the middle and continue; images are made of them."""

import json
import urllib.request

from clients import ClientTestCase, raw_disk
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError


class Tus(ClientTestCase):
    def setUp(self):
        self.path = self.base / "disk.raw"

    def becomes_an_image(self, url):
        body = {"name": "by tus", "upload": url.rsplit("/", 1)[1], "region": "hal1"}
        request = urllib.request.Request(
            f"{self.service.url}/v2/images",
            json.dumps(body).encode(),
            {"authorization": f"Bearer {self.service.token}"},
        )
        with urllib.request.urlopen(request) as answer:
            number = json.load(answer)["image"]["id"]
        self.wait_for("the import", lambda: self.image(number)["status"] == "available")

    def test_tuspy(self):
        self.path.write_bytes(raw_disk(8, b"tuspy"))
        headers = {"authorization": f"Bearer {self.service.token}"}
        client = TusClient(f"{self.service.url}/v2/uploads", headers)
        uploader = client.uploader(str(self.path), chunk_size=1 << 20, metadata={"name": "x"})
        uploader.upload(stop_at=3 << 20)
        again = client.uploader(str(self.path), chunk_size=1 << 20, url=uploader.url)
        self.assertEqual(again.offset, 3 << 20)
        again.upload()
        self.assertEqual(again.offset, 8 << 20)
        self.becomes_an_image(again.url)

    def test_tuspy_is_told_what_is_wrong(self):
        client = TusClient(f"{self.service.url}/v2/uploads", {"authorization": "Bearer wrong"})
        self.path.write_bytes(b"x")
        with self.assertRaises(TusCommunicationError) as caught:
            client.uploader(str(self.path)).upload()
        self.assertEqual(caught.exception.status_code, 401)

    def test_tus_js_client(self):
        self.path.write_bytes(raw_disk(8, b"tus-js-client"))
        told = self.node("tus.js", self.path)
        self.assertGreaterEqual(told["continued"], 1 << 20)
        self.assertEqual(told["message"], "Unable to authenticate you.")
        self.becomes_an_image(told["url"])
