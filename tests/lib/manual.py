"""The topics of the manual: their texts, and the items in them."""

from __future__ import annotations

import re

from sources import PACKAGE

from hgext_delegate.extension import help_topics

FOLDER = PACKAGE / 'help'
TOPICS = {name.decode(): header.decode() for name, header in help_topics.TOPICS}
# '``NAME:option``' on a line of its own, and the lines below it.
ITEM = re.compile(r'^``([^`\n]+)``\n((?:  .*\n)+)', re.MULTILINE)


def manual(topic: str = 'config') -> dict[str, str]:
    """The items of a topic of the manual: each on one line, by its name."""
    items = ITEM.findall((FOLDER / f'{topic}.txt').read_text('utf-8') + '\n')
    return {name: ' '.join(body.split()) for name, body in items}
