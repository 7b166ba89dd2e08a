"""Customers with machines: they change them, make images of them and delete them while the service is
killed again and again."""

import json
import time
import uuid

from customer import PATIENCE_SECONDS, Broken, Customer

SIZE = "s-1vcpu-512mb-10gb"
# What can be done to a machine in a state, and the state that it is in afterwards.
ACTIONS = {
    "active": {
        "snapshot": "active",
        "rebuild": "active",
        "reboot": "active",
        "power_cycle": "active",
        "shutdown": "off",
        "power_off": "off",
    },
    "off": {"snapshot": "off", "rebuild": "active", "power_on": "active"},
}


class Owner(Customer):
    """Has one machine at a time. Its guest does nothing, so that its disk stays what it was."""

    # By number of the disk: the digest of every snapshot of a machine that has it.
    snapshots = {}

    def work(self):
        number = self.random.randrange(6)
        image = self.ended(self.upload(number) or self.upload(number))
        if image is None or image["status"] != "available":
            return  # it gave the upload up
        machine = self.machine(image)
        if machine is None:
            return
        kept = image
        for _ in range(self.random.randrange(6)):
            status = self.settled(machine)["status"]
            kind = self.random.choice(list(ACTIONS[status]))
            name = f"{kind}-{uuid.uuid4()}"
            action = self.act(machine, kind, image=kept["id"], name=name)
            after = self.settled(machine)
            if action is None or self.is_given_up(action):
                continue
            if after["status"] != ACTIONS[status][kind]:
                raise Broken(f"after {kind} of {status} machine {machine} it is {after}")
            if kind == "snapshot":
                kept = self.snapshot(number, name)
        # Deleted while it is being made, or while an image is made of it, or at rest.
        if self.random.random() < 0.5:
            self.settled(machine)
            self.act(machine, "snapshot")
        self.destroy(machine)
        if self.random.random() < 0.6:
            self.delete(image["id"])

    def post(self, path, request):
        """`None` if the answer was lost with the process, and perhaps the effect."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
        status, _, body = self.api.sure("POST", path, headers, json.dumps(request))
        if status == 409:
            return None
        if status not in (201, 202):
            raise Broken(f"{request} at {path}: {status} {body!r}")
        return json.loads(body)

    def machine(self, image):
        """Its id."""
        name = f"machine-{uuid.uuid4()}"
        copies = image["abbild"]["regions"]
        region = next(copy["slug"] for copy in copies if copy["status"] == "available")
        request = {"name": name, "image": image["id"], "size": SIZE, "region": region}
        if answer := self.post("/v2/droplets", request):
            return answer["droplet"]["id"]
        found = self.api.get(f"/v2/droplets?name={name}")["droplets"]
        return found[0]["id"] if found else None

    def act(self, machine, kind, **parameters):
        """Begins it; the action, if there certainly is one."""
        answer = self.post(f"/v2/droplets/{machine}/actions", {"type": kind, **parameters})
        self.count(kind)
        return answer and answer["action"]

    def settled(self, machine):
        """The machine, once nothing is done to it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            droplet = self.api.get(f"/v2/droplets/{machine}")["droplet"]
            if not droplet["locked"]:
                return droplet
            time.sleep(0.1)
        raise Broken(f"machine {machine} stays locked: {droplet}")

    def is_given_up(self, action):
        """Whether it ended the service so often that it was given up, the only reason for which it may
        not succeed."""
        action = self.api.get(f"/v2/actions/{action['id']}")["action"]
        if action["status"] == "completed":
            return False
        if "the service stopped" not in (action["abbild"]["reason"] or ""):
            raise Broken(f"it was to succeed: {action}")
        self.count("given up")
        return True

    def snapshot(self, number, name):
        """The one image of this name, which is what the machine's disk is."""
        images = self.api.get(f"/v2/images?type=snapshot&name={name}")["images"]
        if [image["status"] for image in images] != ["available"]:
            raise Broken(f"snapshot {name}: {images}")
        digest = images[0]["abbild"]["digest"]
        if self.snapshots.setdefault(number, digest) != digest:
            raise Broken(f"{name} of disk {number} is {digest}, and was {self.snapshots[number]}")
        return images[0]

    def destroy(self, machine):
        status, _, body = self.api.sure("DELETE", f"/v2/droplets/{machine}")
        if status not in (204, 404):
            raise Broken(f"deleting machine {machine}: {status} {body!r}")
        self.count("machines")
