"""What must be true when everything has come to rest."""

import contextlib
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from abbild import wait_for
from customer import REGIONS, Api, Broken, Customer, disk


def check(services, store, seconds=600):
    """Waits for the last job, starts the service anew, and looks at everything. Processes that are
    down, because they were killed for good, must not be needed for the last job."""
    api = Api(*(service for service in services if service.is_up()))
    wait_for("the last job to end", lambda: not open_actions(api), seconds, interval=0.5)
    # What was left by a process that was killed goes with the first sweep.
    for service in services:
        service.stop()
        service.start()
    api = Api(*services)
    check_actions(api)
    wanted = check_images(api)
    give_up_uploads(api, services[0])
    for region in REGIONS:
        wait_for(
            f"{region} to hold what is referred to: {sorted(wanted[region])}",
            lambda: {path.stem for path in store.images(region)} == wanted[region],
            store.removal_seconds,
        )
        for path in store.images(region):
            check_digest(path)
        for service in services:
            for path in (service.data / "regions" / region / "images").iterdir():
                # A copy of what is in a bucket may be removed at any moment.
                with contextlib.suppress(FileNotFoundError):
                    check_digest(path)
    wait_for_empty_staging(services)
    check_content(store)


def open_actions(api):
    return [a for a in api.pages("/v2/actions", "actions") if a["status"] == "in-progress"]


def check_actions(api):
    for action in api.pages("/v2/actions", "actions"):
        if action["status"] == "errored" and not (action["abbild"] or {}).get("reason"):
            raise Broken(f"an action without a reason: {action}")
        if action["completed_at"] is None:
            raise Broken(f"an action without an end: {action}")


def check_images(api):
    """By region, the digests that must be there."""
    wanted = {region: set() for region in REGIONS}
    for image in api.pages("/v2/images", "images"):
        more = image["abbild"]
        if more["stage"] == "failed" and not image["error_message"]:
            raise Broken(f"an image without a reason: {image}")
        # Without an action nothing moves any more; one that still waits for bytes is the
        # customer's to go on with.
        if more["stage"] not in ("available", "failed", "receiving"):
            raise Broken(f"an image on its way without an action: {image}")
        for copy in more["regions"]:
            if more["stage"] == "available" and copy["status"] == "available":
                wanted[copy["slug"]].add(more["digest"].removeprefix("sha256:"))
            elif more["stage"] == "available" and copy["status"] != "failed":
                raise Broken(f"a copy on its way without an action: {image}")
    return wanted


def give_up_uploads(api, service):
    """Customers stopped in the middle: what they began is theirs to give up."""
    for path in (service.data / "uploads").iterdir():
        api.sure("DELETE", f"/v2/uploads/{path.name}", {"Tus-Resumable": "1.0.0"})


def check_digest(path):
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != path.stem:
        raise Broken(f"{path} has the digest {found}")


def leftovers(services):
    """Uploads, their locks, and files of imports. All processes share the uploads of the first."""
    places = [services[0].data / "uploads", services[0].data / "locks"]
    for service in services:
        places.append(service.data / "staging")
        places += [service.data / "regions" / region / "incoming" for region in REGIONS]
    return [path for place in places for path in place.iterdir() if not is_newborn(path, services)]


def is_newborn(path, services):
    """Whether the file may be of an upload whose row is only about to be made. If its process was
    killed just then, the empty file stays for an hour, because no other process can tell."""
    try:
        return path.parent == services[0].data / "uploads" and path.stat().st_size == 0
    except FileNotFoundError:
        return True


def wait_for_empty_staging(services):
    try:
        wait_for("staging to be empty", lambda: not leftovers(services), 60)
    except AssertionError:
        found = [f"{path} of {path.stat().st_size} bytes" for path in leftovers(services)]
        raise Broken(f"nobody's files are left: {', '.join(found)}") from None


def check_content(store):
    """The digest of each canonical image stands for the disk that was sent."""
    images = {path.stem: path for region in REGIONS for path in store.images(region)}
    for number, digest in Customer.digests.items():
        path = images.get(digest.removeprefix("sha256:"))
        if path is None:
            continue
        handle, raw = tempfile.mkstemp()
        os.close(handle)
        try:
            convert = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw]
            subprocess.run(convert, check=True)
            if Path(raw).read_bytes() != disk(number):
                raise Broken(f"{path} is not disk {number}")
        finally:
            os.unlink(raw)
