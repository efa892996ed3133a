# SPDX-License-Identifier: GPL-2.0-or-later
'''JSON that a shell may be fed by mistake, and runs nothing of. Pure'''

from __future__ import annotations

import json
import re
from typing import Any

# of JSON's own text: an escaped quote or backslash, $, ` and !
_ACTIVE = re.compile(r'\\["\\]|[$`!]')


def dump(content: Any) -> str:
    '''``content`` as JSON of which a shell runs nothing

    A script may hand its input to a shell by mistake. What shells act on inside
    double quotes is spelled \\u00XX, and so is a quote itself: for PowerShell a
    backslash does not escape it.
    '''
    dumped = json.dumps(content)
    return _ACTIVE.sub(lambda at: f'\\u{ord(at[0][-1]):04x}', dumped)
