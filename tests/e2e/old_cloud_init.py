"""What an old cloud-init makes of a config drive.

    PYTHONPATH=… old_cloud_init.py DIRECTORY

Prints as JSON what it found in the directory, and how it would set up the network: on Ubuntu with what that
had at the time, /etc/network/interfaces or netplan, and on CentOS.
"""

import collections
import collections.abc
import json
import re
import shlex
import sys
import tempfile
from pathlib import Path

import yaml

# Where Python 3.9 and older had them.
collections.Iterable = collections.abc.Iterable
collections.Mapping = collections.abc.Mapping

from cloudinit import net, sources  # noqa: E402
from cloudinit.net import network_state  # noqa: E402
from cloudinit.sources import DataSourceConfigDrive  # noqa: E402
from cloudinit.sources.helpers import openstack  # noqa: E402

try:
    from cloudinit.distros import rhel
    from cloudinit.net import netplan, sysconfig
except ImportError:  # 0.7.7
    netplan = None


def by_ifupdown(found):
    """As 0.7.7 does it, which reads no routes, of no cloud."""
    state = net.parse_net_config_data(DataSourceConfigDrive.convert_network_data(found))
    interfaces = net.render_interfaces(state)
    return {
        "card": re.findall('ATTR{address}=="(.*?)"', net.render_persistent_net(state)),
        "dhcp": "inet dhcp" in interfaces,
        "addresses": re.findall(r"^\s+address (.*)$", interfaces, re.M),
        "dns": re.findall(r"^\s+dns-nameservers (.*)$", interfaces, re.M),
        "routers": None,
    }


def state_of(found):
    mac = found["links"][0]["ethernet_mac_address"]
    config = openstack.convert_net_json(found, known_macs={mac: "eth0"})
    return network_state.parse_net_config_data(config)


def by_netplan(found):
    with tempfile.TemporaryDirectory() as root:
        renderer = netplan.Renderer({"netplan_path": "plan"})
        renderer.render_network_state(state_of(found), target=root)
        plan = yaml.safe_load(Path(root, "plan").read_text())["network"]["ethernets"]["eth0"]
    return {
        "card": [plan["match"]["macaddress"]],
        "dhcp": plan.get("dhcp4", False),
        "addresses": [address.split("/")[0] for address in plan.get("addresses", [])],
        "dns": plan.get("nameservers", {}).get("addresses", []),
        "routers": [route["via"] for route in plan.get("routes", [])],
    }


def by_sysconfig(found):
    """As on CentOS."""
    with tempfile.TemporaryDirectory() as root:
        renderer = sysconfig.Renderer(rhel.Distro.renderer_configs.get("sysconfig", {}))
        renderer.render_network_state(state_of(found), target=root)
        lines = Path(root, "etc/sysconfig/network-scripts/ifcfg-eth0").read_text().splitlines()
        resolver = Path(root, "etc/resolv.conf")
        servers = resolver.read_text() if resolver.exists() else ""
    card = dict(shlex.split(line, comments=True)[0].split("=", 1) for line in lines if "=" in line)

    def there(*names):
        return [card[name].split("/")[0] for name in names if name in card]

    return {
        "card": there("HWADDR"),
        "dhcp": card["BOOTPROTO"] == "dhcp",
        "addresses": there("IPADDR", "IPV6ADDR"),
        "dns": re.findall("^nameserver (.*)$", servers, re.M),
        "routers": there("GATEWAY", "IPV6_DEFAULTGW"),
    }


def main():
    drive = DataSourceConfigDrive.read_config_drive(sys.argv[1])
    if netplan:
        convert, renderers = sources.convert_vendordata, [by_netplan, by_sysconfig]
    else:
        convert, renderers = openstack.convert_vendordata_json, [by_ifupdown]
    said = {
        "metadata": drive["metadata"],
        "user_data": drive["userdata"].decode(),
        "vendor_data": convert(drive["vendordata"]),
        "networks": [render(drive["networkdata"]) for render in renderers],
    }
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
