# SPDX-License-Identifier: GPL-2.0-or-later
'''imports that are complete when they return

Inside hg every import is lazy: a module is loaded when it is first used. Two
threads that first use one at the same moment both fail (``AttributeError``:
one push in twenty, measured), and ``import paramiko`` fails altogether. So
what our threads share is imported like this::

  with imports.complete():
      from ..delivery import worker
'''

from __future__ import annotations

import contextlib
import gc
import sys
import threading
import types
from collections.abc import Iterator

from mercurial import demandimport

_LOADING = threading.RLock()
# Ours, and what paramiko is built on: our threads run through all of it.
_SHARED = ('paramiko', 'cryptography', 'nacl', 'bcrypt')


def extension() -> types.ModuleType:
    '''this extension, by whatever name Mercurial has loaded it'''
    return sys.modules[__package__]


@contextlib.contextmanager
def complete() -> Iterator[None]:
    '''load what is imported in this block, and all that it imports'''
    collecting = gc.isenabled()
    with _LOADING, demandimport.deactivated():
        # it would look through all modules, time and again
        gc.disable()
        try:
            yield
            _load_lazy_modules()
        finally:
            if collecting:
                gc.enable()


def _load_lazy_modules() -> None:
    for name, module in list(sys.modules.items()):
        shared = name.partition('.')[0] in (__package__, *_SHARED)
        # None keeps others from importing it
        if not shared or module is None:
            continue
        for value in list(vars(module).values()):
            # cffi has objects that say they are modules
            if issubclass(type(value), types.ModuleType):
                # reading any attribute of a lazy module loads it
                value.__doc__  # noqa: B018
