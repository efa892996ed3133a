# imports.py - imports that are complete when they return
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''imports that are complete when they return

Inside hg an import is only a promise, kept when the module is first used.
Two threads that first use one at the same moment both fail
(``AttributeError``: one push in twenty, measured), and ``import paramiko``
fails altogether. What our threads share is therefore loaded here.
'''

from __future__ import annotations

import importlib
import sys
import threading
import types
from typing import Any

from mercurial import demandimport, util

_LOADING = threading.RLock()
# Ours, and what paramiko stands on: our threads run through all of it.
_SHARED = ('paramiko', 'cryptography', 'nacl', 'bcrypt')


def extension() -> types.ModuleType:
    '''this extension, by whatever name Mercurial has loaded it'''
    return sys.modules[__package__]


@util.nogc  # it looks through all that is loaded, time and again
def load(name: str) -> Any:
    '''our module ``name``, with all that it and its like import'''
    with _LOADING, demandimport.deactivated():
        module = importlib.import_module('.' + name, __package__)
        for other, loaded in list(sys.modules.items()):
            ours = other.partition('.')[0] in (__package__, *_SHARED)
            # None keeps others from importing it
            if ours and loaded is not None:
                _keep_promises(loaded)
        return module


def _keep_promises(module: types.ModuleType) -> None:
    # any attribute of a promised module loads it
    for value in list(vars(module).values()):
        # cffi has objects that say they are modules
        if issubclass(type(value), types.ModuleType):
            value.__doc__  # noqa: B018
