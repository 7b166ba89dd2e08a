"""What a guest could do on the port of its machine, without a machine.

usage: guest.py forge PORT MAC IPV4 IPV6 OBSERVER     tries to pass for somebody else
       guest.py dhcp PORT MAC IPV4 IPV6 ROUTER        asks for addresses, and must get these
       guest.py send CARD MAC IPV4 IPV6 -             in a guest: sends all that `forge` tries

OBSERVER is the other end of a port of the bridge, where everything arrives that the bridge lets pass.
It ends with 1 and says why if something is not as it should be.
"""

import fcntl
import os
import select
import socket
import struct
import sys
import time
from ipaddress import IPv4Address, IPv6Address

BROADCAST = b"\xff" * 6
OTHER_MAC = bytes.fromhex("06aabbccddee")
OTHER_IPV4 = IPv4Address("10.20.0.77")
OTHER_IPV6 = IPv6Address("fd00:20::77")
ANY = IPv6Address("::")
ALL_NODES = IPv6Address("ff02::1")
UDP, ICMPV6 = 17, 58


def link_local(mac):
    """RFC 4291, appendix A."""
    return IPv6Address(
        b"\xfe\x80" + bytes(6) + bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]
    )


def checksum(data):
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ethernet(source, kind, payload, to=BROADCAST):
    return to + source + struct.pack(">H", kind) + payload


def ipv4(source, to, payload, protocol=UDP):
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0)
    addresses = source.packed + to.packed
    return head[:10] + struct.pack(">H", checksum(head + addresses)) + addresses + payload


def ipv6(source, to, payload, protocol=UDP):
    """With the checksum that every protocol above has somewhere."""
    at = {UDP: 6, ICMPV6: 2}.get(protocol)
    if at is not None:
        pseudo = source.packed + to.packed + struct.pack(">IxxxB", len(payload), protocol)
        payload = payload[:at] + struct.pack(">H", checksum(pseudo + payload)) + payload[at + 2 :]
    head = struct.pack(">IHBB", 6 << 28, len(payload), protocol, 255)
    return head + source.packed + to.packed + payload


def udp(source, to, payload):
    return struct.pack(">HHHH", source, to, 8 + len(payload), 0) + payload


def arp(mac, address):
    """An announcement (RFC 5227)."""
    return struct.pack(">HHBBH", 1, 0x800, 6, 4, 1) + mac + address.packed + bytes(6) + b"\x0a\x14\0\x4d"


def neighbour(kind, target):
    return struct.pack(">BBHI", kind, 0, 0, 0) + target.packed


class Port:
    """The guest's end of a TAP interface."""

    def __init__(self, name, mac):
        self.mac = mac
        self.file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        request = struct.pack("16sH22x", name.encode(), 0x0002 | 0x1000)  # IFF_TAP, IFF_NO_PI
        fcntl.ioctl(self.file, 0x400454CA, request)  # TUNSETIFF

    def send(self, frame):
        os.write(self.file, frame)

    def answer(self, frame):
        """Says that it is there to whoever asks for its address on the link (RFC 4861)."""
        own, solicitation = link_local(self.mac), frame[54:78]
        if frame[12:14] == b"\x86\xdd" and solicitation == neighbour(135, own)[:2] + solicitation[2:8] + own.packed:
            advert = struct.pack(">BBHI", 136, 0, 0, 0x60000000) + own.packed + b"\2\1" + self.mac
            asker = IPv6Address(frame[22:38])
            self.send(ethernet(self.mac, 0x86DD, ipv6(own, asker, advert, ICMPV6), frame[6:12]))

    def receive(self, what, wanted, ask, seconds=20):
        """What `wanted` makes of the first frame that it makes something of. `ask` is sent again and
        again until then."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.send(ask)
            again = time.monotonic() + 1
            while (left := again - time.monotonic()) > 0:
                if not select.select([self.file], [], [], left)[0]:
                    break
                frame = os.read(self.file, 65536)
                found = wanted(frame)
                if found is not None:
                    return found
                self.answer(frame)
        sys.exit(f"there was no {what}")


def forgeries(mac, address, address6):
    """`(what, frame, whether it may pass)`."""
    own6 = link_local(mac)
    everybody = IPv4Address("255.255.255.255")
    data = udp(1000, 2000, b"data")
    advert = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    hidden = struct.pack(">BBIH", ICMPV6, 0, 0x01040000, 0) + advert
    icmp = lambda source, payload: ethernet(mac, 0x86DD, ipv6(source, ALL_NODES, payload, ICMPV6))
    ip = lambda source, payload: ethernet(mac, 0x800, ipv4(source, everybody, payload))
    ip6 = lambda source, payload: ethernet(mac, 0x86DD, ipv6(source, ALL_NODES, payload))
    return [
        ("its own packet", ip(address, data), True),
        ("a part of a larger packet", ethernet(mac, 0x800, fragment(address, everybody)), True),
        ("a packet from another hardware address", ethernet(OTHER_MAC, 0x800, ipv4(address, everybody, data)), False),
        ("a packet from another address", ip(OTHER_IPV4, data), False),
        ("a packet from no address", ip(IPv4Address(0), data), False),
        ("a packet in a VLAN", ethernet(mac, 0x8100, b"\0\x05\x08\0" + ipv4(address, everybody, data)), False),
        ("its own ARP", ethernet(mac, 0x806, arp(mac, address)), True),
        ("an ARP probe", ethernet(mac, 0x806, arp(mac, IPv4Address(0))), True),
        ("ARP for another address", ethernet(mac, 0x806, arp(mac, OTHER_IPV4)), False),
        ("ARP for another hardware address", ethernet(mac, 0x806, arp(OTHER_MAC, address)), False),
        ("a question for DHCP", ip(IPv4Address(0), udp(68, 67, bytes(300))), True),
        ("an answer of DHCP", ip(address, udp(67, 68, bytes(300))), False),
        ("an answer of DHCP from another port", ip(address, udp(1067, 68, bytes(300))), False),
        ("its own IPv6 packet", ip6(address6, data), True),
        ("its own packet on the link", ip6(own6, data), True),
        ("an IPv6 packet from another address", ip6(OTHER_IPV6, data), False),
        ("a packet from another's address on the link", ip6(link_local(OTHER_MAC), data), False),
        ("a question for DHCPv6", ip6(own6, udp(546, 547, bytes(40))), True),
        ("an answer of DHCPv6", ip6(own6, udp(547, 546, bytes(40))), False),
        ("a question for routers", icmp(own6, struct.pack(">BBHI", 133, 0, 0, 0)), True),
        ("an advertisement of a router", icmp(own6, advert), False),
        ("the same behind another header", ethernet(mac, 0x86DD, ipv6(own6, ALL_NODES, hidden, 0)), False),
        ("a redirection", icmp(own6, neighbour(137, address6) + OTHER_IPV6.packed), False),
        ("its own advertisement", icmp(address6, neighbour(136, address6)), True),
        ("an advertisement of its address on the link", icmp(own6, neighbour(136, own6)), True),
        ("an advertisement of another's address", icmp(address6, neighbour(136, OTHER_IPV6)), False),
        ("a look whether its address is taken", icmp(ANY, neighbour(135, address6)), True),
        ("a claim to another's address", icmp(ANY, neighbour(135, OTHER_IPV6)), False),
        ("a question for a neighbour", icmp(own6, neighbour(135, OTHER_IPV6)), True),
        ("a spanning tree", b"\x01\x80\xc2\0\0\0" + mac + b"\0\x26\x42\x42\x03" + bytes(35), False),
        ("an unknown protocol", ethernet(mac, 0x88B5, bytes(46)), False),
    ]  # fmt: skip


def fragment(source, to):
    """The end of a UDP packet, which has no ports."""
    packet = bytearray(ipv4(source, to, b"the last part of it"))
    packet[6:8] = struct.pack(">H", 5)
    packet[10:12] = b"\0\0"
    packet[10:12] = struct.pack(">H", checksum(bytes(packet[:20])))
    return bytes(packet)


def forge(port, mac, address, address6, observer):
    seen = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    seen.bind((observer, 0))
    seen.setsockopt(263, 1, struct.pack("iHH8s", socket.if_nametoindex(observer), 1, 0, b""))
    guest = Port(port, mac)
    last = ethernet(mac, 0x806, arp(mac, address))
    wait_for_bridge(guest, last, seen)
    wrong = []
    for what, frame, may_pass in forgeries(mac, address, address6):
        guest.send(frame)
        guest.send(last)
        arrived = set()
        # The host may speak on its bridge meanwhile, but after a frame comes the next.
        while last not in arrived or (frame == last and not arrived):
            seen.settimeout(10)
            arrived.add(seen.recv(65536))
        did_pass = any(frame[6:30] == other[6:30] for other in arrived - {last}) or frame == last
        # A tag for a VLAN is taken off before a frame is seen.
        did_pass |= b"data" in frame and any(b"data" in other for other in arrived)
        if did_pass != may_pass:
            wrong.append(f"{what} {'passed' if did_pass else 'did not pass'}")
        drain(seen)
    if wrong:
        sys.exit("\n".join(wrong))


def send(card, mac, address, address6, _):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as line:
        line.bind((card, 0))
        for _, frame, _ in forgeries(mac, address, address6):
            line.send(frame)


def wait_for_bridge(guest, frame, observer):
    """The kernel takes a moment to notice that somebody is at the port."""
    deadline = time.monotonic() + 20
    observer.settimeout(0.1)
    while time.monotonic() < deadline:
        guest.send(frame)
        try:
            if observer.recv(65536) == frame:
                time.sleep(0.1)
                return drain(observer)
        except TimeoutError:
            pass
    sys.exit("nothing passes at all")


def drain(observer):
    observer.setblocking(False)
    try:
        while observer.recv(65536):
            pass
    except BlockingIOError:
        pass


def options(data, head):
    """`{code: value}` of options whose code and length have the format `head`."""
    found, size = {}, struct.calcsize(head)
    while len(data) >= size and data[0] != 255:
        code, length = struct.unpack(head, data[:size])
        found[code] = data[size : size + length]
        data = data[size + length :]
    return found


def dhcp(port, mac, address, address6, router):
    guest = Port(port, mac)

    def ask(kind, more=b""):
        # RFC 2131, section 2: broadcast the answer.
        head = struct.pack(">BBBBIHH", 1, 1, 6, 0, 0x1234, 0, 0x8000) + bytes(16) + mac
        message = head.ljust(236, b"\0") + b"\x63\x82\x53\x63" + bytes([53, 1, kind])
        # The name by which a client knows itself is another each time.
        name = bytes([61, 5, 0]) + os.urandom(4)
        wish = bytes([55, 3, 3, 6, 26])
        packet = udp(68, 67, message + name + wish + more + b"\xff")
        to = IPv4Address("255.255.255.255")
        return ethernet(mac, 0x800, ipv4(IPv4Address(0), to, packet))

    def answer(kind):
        def wanted(frame):
            if frame[12:14] != b"\x08\0" or frame[36:38] != b"\0\x44":
                return None
            told = options(frame[42 + 240 :], ">BB")
            return (IPv4Address(frame[58:62]), told) if told.get(53) == bytes([kind]) else None

        return wanted

    offered, told = guest.receive("offer of an address", answer(2), ask(1))
    if offered != address:
        sys.exit(f"{offered} was offered instead of {address}")
    more = bytes([50, 4]) + address.packed + bytes([54, 4]) + told[54]
    given, told = guest.receive("address", answer(5), ask(3, more))
    if given != address or told[3] != IPv4Address(router).packed or told[26] != b"\x05\xdc":
        sys.exit(f"{given} was given, with {told}")
    if 6 in told and not told[6]:
        sys.exit("name servers were told, but none")

    own6 = link_local(mac)
    solicitation = ipv6(own6, IPv6Address("ff02::2"), struct.pack(">BBHI", 133, 0, 0, 0), ICMPV6)

    def advert(frame):
        is_it = frame[12:14] == b"\x86\xdd" and frame[20] == ICMPV6 and frame[54] == 134
        return frame[54:] if is_it else None

    found = guest.receive(
        "advertisement of the network", advert, ethernet(mac, 0x86DD, solicitation)
    )
    managed, prefix = found[5] & 0x80, found.index(address6.packed[:8], 16)
    if not managed or found[prefix - 13] & 0x40:
        sys.exit("the guest is to make an address of its own")
    if struct.unpack(">H", found[6:8])[0] == 0:
        sys.exit("the host does not say that it is the router")

    client = struct.pack(">HHHHHI", 1, 10, 3, 1, 0, 0)[:8] + mac
    identity = struct.pack(">HH", 1, len(client) - 4) + client[4:]
    solicit = b"\x01abc" + identity + struct.pack(">HHIII", 3, 12, 7, 0, 0)
    packet = ipv6(own6, IPv6Address("ff02::1:2"), udp(546, 547, solicit))

    def advertised(frame):
        if frame[12:14] != b"\x86\xdd" or frame[20] != UDP or frame[62] != 2:
            return None
        association = options(frame[66:], ">HH").get(3, b"")
        inner = options(association[12:], ">HH").get(5)
        return IPv6Address(inner[:16]) if inner else None

    given = guest.receive("DHCPv6 server", advertised, ethernet(mac, 0x86DD, packet))
    if given != address6:
        sys.exit(f"{given} was given instead of {address6}")


def main():
    what, port, mac, address, address6, last = sys.argv[1:]
    mac = bytes.fromhex(mac.replace(":", ""))
    scenario = {"forge": forge, "dhcp": dhcp, "send": send}[what]
    scenario(port, mac, IPv4Address(address), IPv6Address(address6), last)


if __name__ == "__main__":
    main()
