"""Waiting for what another process does."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(condition: Callable[[], object]) -> None:
    """Look for a minute, or longer on a busy machine; then it is an
    AssertionError."""
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError('it does not come to that')
