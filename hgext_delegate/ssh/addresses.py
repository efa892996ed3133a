# SPDX-License-Identifier: GPL-2.0-or-later
'''from where a host sees us, and whether it is this machine'''

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from . import config


@dataclass(frozen=True)
class Way:
    '''one way to a host: the address here, and the one there'''

    here: str
    there: str


def ways(host: config.Destination) -> list[Way]:
    '''the ways to all addresses of ``host`` that there is a route to

    An empty list where a jump host or a ProxyCommand leads to it, or where its
    name is not known.
    '''
    found: list[Way] = []
    if host.proxy:
        return found
    with contextlib.suppress(OSError, UnicodeError):
        for family, _type, _protocol, _name, address in socket.getaddrinfo(
            host.host, host.port, host.family, socket.SOCK_DGRAM
        ):
            # Connecting a datagram socket sends nothing: it finds the route.
            route = socket.socket(family, socket.SOCK_DGRAM)
            with route, contextlib.suppress(OSError):
                if host.bind:
                    route.bind((host.bind, 0))
                route.connect(address)
                ends = route.getsockname(), route.getpeername()
                # without the zone of a link-local address
                found.append(Way(*(end[0].partition('%')[0] for end in ends)))
    return found


def is_this_machine(ways: Sequence[Way]) -> bool:
    return bool(ways) and all(
        way.here == way.there or ipaddress.ip_address(way.here).is_loopback
        for way in ways
    )


def sources(ways: Sequence[Way]) -> list[str]:
    '''the addresses that the host sees, in the order of ``ways``

    As patterns for authorized_keys. A name such as localhost may lead to
    either loopback address, so both are among them.
    '''
    seen: list[str] = []
    for way in ways:
        here = ipaddress.ip_address(way.here)
        if here.is_loopback:
            seen += ['127.0.0.1', '::1']
        elif here.version == 6 and here.is_link_local:
            # sshd adds the name of its own interface to it.
            seen.append(way.here + '%*')
        else:
            seen.append(way.here)
    return list(dict.fromkeys(seen))
