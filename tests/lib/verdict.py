"""What the last line of a delegation says."""

from __future__ import annotations

import re

LAST = re.compile(
    rb'delegate: (\S+): (deployed ([0-9a-f]{12}) in \d+\.\d s|failed: .*)\Z'
)
