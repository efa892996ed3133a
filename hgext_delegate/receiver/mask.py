# SPDX-License-Identifier: GPL-2.0-or-later
'''secrets of the environment, taken out of what a script prints'''

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping

_NAMES = re.compile('PASSWORD|TOKEN|SECRET|KEY', re.IGNORECASE)
# Shorter values, such as 'yes', stand in any text.
_SHORTEST = 4


class Mask:
    '''hands on to ``write`` what is fed to it, secrets in ``environ`` as
    ``***``

    What may be the beginning of one is held until more comes.
    '''

    def __init__(
        self, environ: Mapping[str, str], write: Callable[[bytes], None]
    ):
        self._write = write
        self._held = b''
        values = [
            os.fsencode(value)
            for name, value in environ.items()
            if _NAMES.search(name) and len(value) >= _SHORTEST
        ]
        self._secrets = sorted(values, key=len, reverse=True)
        self._pattern = re.compile(b'|'.join(map(re.escape, self._secrets)))

    def feed(self, data: bytes) -> None:
        if self._secrets:
            data = self._pattern.sub(b'***', self._held + data)
            begun = len(data) - self._begun(data)
            data, self._held = data[:begun], data[begun:]
        if data:
            self._write(data)

    def close(self) -> None:
        '''hand on what is held'''
        if self._held:
            self._write(self._held)
            self._held = b''

    def _begun(self, data: bytes) -> int:
        '''how much of the end of ``data`` may be the beginning of a secret'''
        for size in range(min(len(data), len(self._secrets[0]) - 1), 0, -1):
            if any(s.startswith(data[-size:]) for s in self._secrets):
                return size
        return 0
