"""The API of a service under test, over one connection."""

import http.client
import json
import time


class Api:
    """One connection to a service under test: measurements of milliseconds leave no room for a
    new process each time."""

    def __init__(self, service):
        self.connection = http.client.HTTPConnection("127.0.0.1", service.port)
        self.headers = {"Authorization": f"Bearer {service.token}"}

    def call(self, method, path, body=None, headers=None):
        data = json.dumps(body) if isinstance(body, dict) else body
        self.connection.request(method, path, data, {**self.headers, **(headers or {})})
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise AssertionError(f"{method} {path}: {answer.status} {content}")
        return answer.headers, json.loads(content) if content else None

    def upload(self, path):
        """Sends a file and returns the upload's id; no image is made of it yet."""
        tus = {"Tus-Resumable": "1.0.0"}
        length = {"Upload-Length": str(path.stat().st_size)}
        headers, _ = self.call("POST", "/v2/uploads", headers={**tus, **length})
        upload = headers["Location"].rsplit("/", 1)[1]
        kind = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
        with open(path, "rb") as file:
            self.call("PATCH", f"/v2/uploads/{upload}", file, {**tus, **kind, "Content-Length": length["Upload-Length"]})
        return upload

    def until(self, path, key, status):
        """Polls an object until it has `status`."""
        while True:
            _, answer = self.call("GET", path)
            found = answer[key]["status"]
            if found == status:
                return answer[key]
            if found in ("deleted", "errored"):
                raise AssertionError(answer)
            time.sleep(0.002)

    def import_image(self, upload, name):
        """Seconds from the request for an image to its being available, and the image."""
        begun = time.perf_counter()
        body = {"name": name, "upload": upload, "region": "hal1"}
        _, answer = self.call("POST", "/v2/images", body)
        image = self.until(f"/v2/images/{answer['image']['id']}", "image", "available")
        return time.perf_counter() - begun, image

    def add_region(self, image, region):
        """Makes an image available in a further region; seconds from the request."""
        begun = time.perf_counter()
        path = f"/v2/images/{image['id']}/actions"
        _, answer = self.call("POST", path, {"type": "transfer", "region": region})
        self.until(f"/v2/actions/{answer['action']['id']}", "action", "completed")
        return time.perf_counter() - begun

    def create_machine(self, image, name):
        """Seconds from the request for a machine to QEMU running it, and the machine."""
        begun = time.perf_counter()
        body = {"name": name, "image": image["id"], "region": "hal1", "size": "s-1vcpu-1gb"}
        _, answer = self.call("POST", "/v2/droplets", body)
        path = f"/v2/droplets/{answer['droplet']['id']}"
        self.until(path, "droplet", "active")
        elapsed = time.perf_counter() - begun
        self.call("DELETE", path)
        return elapsed
