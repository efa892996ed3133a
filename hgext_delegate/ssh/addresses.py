# SPDX-License-Identifier: GPL-2.0-or-later
'''from where a host sees us, and whether it is this machine'''

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from . import config

LOOPBACK = ('127.0.0.1', '::1')


@dataclass(frozen=True)
class Way:
    '''one way to a host: the address here, and the one there'''

    here: str
    there: str

    @property
    def is_inside(self) -> bool:
        '''whether it does not leave this machine'''
        return self.here == self.there or self.is_loopback

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.here).is_loopback

    @property
    def is_link_local(self) -> bool:
        return ipaddress.ip_address(self.here).is_link_local


def ways(host: config.Destination) -> list[Way]:
    '''the ways to all addresses of ``host`` that there is a route to

    An empty list where a jump host or a ProxyCommand leads to it, or where its
    name is not known.
    '''
    if host.proxy:
        return []
    try:
        found = socket.getaddrinfo(
            host.host, host.port, host.family, socket.SOCK_DGRAM
        )
    except (OSError, UnicodeError):
        return []
    return [way for entry in found for way in _way(host.bind, *entry)]


def _way(
    bind: str, family: int, _type: int, _proto: int, _name: str, address: tuple
) -> list[Way]:
    # To connect this socket sends nothing: it only asks for the route.
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            if bind:
                sock.bind((bind, 0))
            sock.connect(address)
        except OSError:
            return []
        return [Way(_address(sock.getsockname()), _address(sock.getpeername()))]


def _address(name: tuple) -> str:
    return name[0].partition('%')[0]


def is_this_machine(ways: Sequence[Way]) -> bool:
    return bool(ways) and all(way.is_inside for way in ways)


def sources(ways: Sequence[Way]) -> list[str]:
    '''the addresses that the host sees, in the order of ``ways``

    As patterns for authorized_keys. A name such as localhost may lead to
    either loopback address, so both are among them.
    '''
    seen: list[str] = []
    for way in ways:
        if way.is_loopback:
            seen += LOOPBACK
        elif ':' in way.here and way.is_link_local:
            # sshd sees it with the name that its interface has there.
            seen.append(way.here + '%*')
        else:
            seen.append(way.here)
    return list(dict.fromkeys(seen))
