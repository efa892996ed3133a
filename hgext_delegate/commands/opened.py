# opened.py - what each command begins with
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''what each command begins with: targets, outbox and journal, opened'''

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from mercurial import error

from ..delivery import dispatcher
from ..report import wording
from ..state import journal
from . import dry_run


@contextlib.contextmanager
def opened(ui, repo, make: Callable | None = None) -> Iterator[dispatcher.Desk]:
    '''a desk for ``repo``; by default one that leaves no trace where there is
    nothing yet'''
    if make is None:
        folder = os.path.join(repo.sharedpath, b'delegate')
        make = dispatcher.open if os.path.isdir(folder) else dry_run.desk
    try:
        with make(ui, repo.unfiltered()) as desk:
            if make is dispatcher.open:
                desk.close_abandoned()
            yield desk
    except journal.JournalError as exc:
        raise error.StateError(
            wording.text(exc.reason), hint=wording.text(exc.remedy)
        ) from None
