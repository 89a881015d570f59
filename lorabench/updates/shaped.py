"""A link of a known rate between two processes of this machine: two network namespaces, one wire.

Each process enters a namespace of its own, one of them lays a pair of virtual Ethernet devices
between the two and shapes its end with a token bucket (tc-tbf(8)). The namespaces have no name, so
that the kernel takes them back, and the wire with them, when the last process in them ends,
however it ends: there is nothing that a killed run could leave. Nothing is changed in the
namespace of the machine, and no packet can leave these two.

pyroute2, which speaks netlink, is the optional extra ``link``.
"""

import ctypes
import os
from typing import Any

from lorabench.errors import MachineError

ADDRESSES = ("192.0.2.1", "192.0.2.2")
"""Of the two ends, the shaped one first: TEST-NET-1 (RFC 5737), which nobody routes."""
DEVICE = "wire"
"""What either end calls its device."""
MTU = 1500
"""Of the devices, in bytes: Ethernet's usual one."""
BURST_BYTES = 128 << 10
"""What may pass at once after a pause; more than the largest packet that TCP hands to a device."""

_CLONE_NEWNET = 0x40000000
_PREFIX = 30
# How long a packet may wait for tokens before the bucket drops it. TCP keeps less than this in a
# device's queue by itself, so that nothing is dropped.
_QUEUE_S = 0.1

_ETHERNET, _IPV4, _TCP, _TIMESTAMPS = 14, 20, 20, 12


def payload_efficiency(mtu: int = MTU) -> float:
    """Return the share of a shaped rate that payload gets.

    The bucket counts a packet as the kernel does, Ethernet's header with it and neither preamble,
    checksum nor gap; of TCP segments that travel as one, each by itself (qdisc_pkt_len). A full
    segment has the headers of IPv4 and TCP with timestamps (RFC 7323): 1448 of 1514 bytes are
    payload.

    Examples
    --------
    >>> round(payload_efficiency(), 4)
    0.9564
    """
    return (mtu - _IPV4 - _TCP - _TIMESTAMPS) / (mtu + _ETHERNET)


def enter_namespace() -> None:
    """Put this process into a network namespace of its own.

    Call it from a process that has one thread.

    Raises
    ------
    MachineError
        pyroute2 is not installed, or the kernel refuses.
    """
    _netlink()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise MachineError(f"the kernel gives no network namespace ({os.strerror(code)})")


def lay_wire(peer: int) -> None:
    """Lay the wire from this process's namespace to that of another, and bring this end up.

    Parameters
    ----------
    peer : int
        A process that has entered its own.

    Raises
    ------
    MachineError
        The kernel refuses.
    """
    _ask("link", "add", ifname=DEVICE, kind="veth", peer={"ifname": DEVICE, "net_ns_pid": peer})
    bring_up(ADDRESSES[0])


def bring_up(address: str) -> None:
    """Give this end of the wire its address, and bring it up.

    Raises
    ------
    MachineError
        The kernel refuses.
    """
    index = _index()
    _ask("addr", "add", index=index, address=address, prefixlen=_PREFIX)
    _ask("link", "set", index=index, mtu=MTU, state="up")


def shape(bits_per_s: float) -> None:
    """Let so much pass from this end of the wire, headers included; in place of what did before.

    Raises
    ------
    MachineError
        The kernel refuses.
    """
    rate = int(bits_per_s / 8)
    limit = BURST_BYTES + int(rate * _QUEUE_S)
    _ask("tc", "replace", "tbf", index=_index(), rate=rate, burst=BURST_BYTES, limit=limit)


def _netlink() -> Any:
    try:
        import pyroute2
    except ImportError:
        raise MachineError('there is no pyroute2 (pip install "lorabench[link]")') from None
    return pyroute2


def _index() -> int:
    with _netlink().IPRoute() as kernel:
        found: list[int] = kernel.link_lookup(ifname=DEVICE)
    return found[0]


def _ask(what: str, *arguments: str, **attributes: Any) -> None:
    netlink = _netlink()
    with netlink.IPRoute() as kernel:
        try:
            getattr(kernel, what)(*arguments, **attributes)
        except netlink.NetlinkError as error:
            words = " ".join((what, *arguments))
            raise MachineError(f"the kernel refuses {words} ({os.strerror(error.code)})") from None
