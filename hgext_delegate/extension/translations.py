# SPDX-License-Identifier: GPL-2.0-or-later
'''messages in the language of the server, from a catalogue beside the code

Each hg loads it with the extension, and the pusher's own LANG may choose it:
whatever is wrong with it, the extension must be there.
'''

from __future__ import annotations

import gettext
import re

from mercurial import i18n


def install(folder: str) -> None:
    '''what Mercurial's catalogue does not know is looked up below ``folder``'''
    try:
        found = gettext.translation('hgext_delegate', folder, fallback=True)
    except Exception:  # noqa: BLE001
        # gettext raises anything for a damaged file: no reason for a push to
        # be forgotten
        return
    texts = getattr(found, '_catalog', {})
    for text, translation in list(texts.items()):
        # with other values in it a message could not even be said
        if _values(text) != _values(translation):
            del texts[text]
    i18n.t.add_fallback(found)


def _values(text: object) -> list[str]:
    found = isinstance(text, str) and re.findall('%[^a-zA-Z%]*[a-zA-Z%]?', text)
    return found or []
