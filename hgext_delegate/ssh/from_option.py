# SPDX-License-Identifier: GPL-2.0-or-later
'''the option from= of a line in authorized_keys, sshd(8)'''

from __future__ import annotations

import fnmatch
import ipaddress
import re


def allows(patterns: str, address: str) -> bool:
    '''whether the list ``patterns`` of from= allows ``address``

    ssh_config(5), PATTERNS. A host name cannot be judged here, and may.
    '''
    allowed = False
    for pattern in patterns.split(','):
        bare = pattern.removeprefix('!')
        try:
            network = ipaddress.ip_network(bare, strict=False)
            matches = ipaddress.ip_address(address) in network
        except ValueError:
            matches = fnmatch.fnmatchcase(address, bare)
            is_name = bool(re.search('[g-zG-Z]', bare))
            matches = matches or (is_name and pattern == bare)
        if matches and pattern != bare:
            return False
        allowed = allowed or matches
    return allowed
