# SPDX-License-Identifier: GPL-2.0-or-later
'''our pages in the dress of hgweb's styles, and what is added to its own pages

No template is copied. As Mercurial's extension highlight does, the style's own
templates are loaded for the request, and changed there: our page is the
style's page of tags with other words, and each page gets a link beside that to
the help, and badges beside the tags of a changeset. A style whose templates do
not look like Mercurial's gets a plain page between its header and its footer.
'''

from __future__ import annotations

import dataclasses
import re
import secrets

from mercurial import templateutil

from .. import imports

_LINK = b'<a href="{url|urlescape}%s{sessionvars%%urlparameter}">%s</a>'
_OURS = _LINK % (b'delegations', b'delegations')
# in a list, after a |, or alone; on a page of the help it is a link or not
_HELP = re.compile(
    rb'(?P<bar>\|\s*)?(?:\{if\(subindex,.*?\n\s*\)\}'
    rb'|<li[^>]*>\s*(?:LINK|help)\s*</li>|LINK|(?<=\|\n)help$)'.replace(
        b'LINK', re.escape(_LINK % (b'help', b'help'))
    ),
    re.DOTALL | re.MULTILINE,
)
_STYLESHEET = (
    b'\n<link rel="stylesheet" type="text/css"'
    b' href="{url|urlescape}delegationscss?%s"'
    # for a policy that lets in what has the nonce alone
    b'{if(nonce, \' nonce="{nonce}"\')} />\n'
) % imports.extension().__version__
_VIEWPORT = (
    b'<meta name="viewport" content="width=device-width, initial-scale=1" />\n'
)
_BADGE = (
    b'<span class="delegation{if(red, " red")}" title="{title|escape}">'
    b'{label|escape}</span> '
)
_BADGES = b'{deployments%deploymentbadge}'
# the first line of a message, where a style has no place for tags
_SUMMARY = re.compile(
    rb'\{desc\|strip\|(?:firstline\|escape|escape\|firstline)\|nonempty\}'
    rb'(?:</a>)?'
)
_ENTRIES = re.compile(
    rb'<(table|ul)\b[^>]*>(?:(?!<(?:table|ul)\b).)*?'
    rb'\{entries%tagentry\}.*?</\1>',
    re.DOTALL,
)
_PLAIN = (
    b'{header}<title></title></head><body>\n'
    b'<h2><a href="{url|urlescape}">{repo|escape}</a></h2>{mark}{footer}'
)


def _text(tmpl, name: bytes) -> bytes:
    '''the source of the template ``name``; it is loaded once'''
    tmpl.load(name)
    return tmpl.cache[name]


def adapt(tmpl, name: bytes, is_linked: bool) -> None:
    '''add the badges and our style sheet to hgweb's page ``name``, and the link
    if there are pages of ours'''
    if name not in tmpl or b'header' not in tmpl:
        return
    tmpl.cache[b'header'] = _text(tmpl, b'header') + _STYLESHEET
    if is_linked:
        tmpl.cache[name] = _HELP.sub(_beside, _text(tmpl, name))
    tmpl.cache[b'deploymentbadge'] = _BADGE
    if b'alltags' in tmpl:
        tmpl.cache[b'alltags'] = _text(tmpl, b'alltags') + _BADGES
        return
    for each in (b'shortlogentry', b'changelogentry', b'changeset'):
        if each in tmpl:
            text = _text(tmpl, each)
            tmpl.cache[each] = _SUMMARY.sub(
                lambda found: found[0] + b' ' + _BADGES, text, count=1
            )


def _beside(found: re.Match[bytes]) -> bytes:
    '''the link to the help, and ours before it'''
    if found['bar']:
        return found['bar'] + _OURS + b' ' + found[0]  # a | is in both
    ours = b'<li>%s</li>' % _OURS if b'<li' in found[0] else _OURS
    return ours + b'\n' + found[0]


@dataclasses.dataclass(frozen=True)
class Page:
    '''what is around some content: up to something in the head, from there to
    the content, and the rest'''

    head: bytes
    body: bytes
    rest: bytes

    def beginning(self, in_head: str, content: str) -> bytes:
        start = b'<main class="delegations" id="content">\n'
        return b'%s%s%s%s%s' % (
            self.head,
            in_head.encode('ascii'),
            self.body,
            start,
            content.encode('ascii'),
        )

    def ending(self) -> bytes:
        return b'</main>\n' + self.rest


def page(tmpl, title: str) -> Page:
    # nothing that anybody has written can contain it
    mark = secrets.token_hex(16).encode('ascii')
    tmpl.cache[b'delegations'] = _page_template(tmpl)
    values = {b'mark': mark, b'title': title.encode('ascii')}
    head, *body, rest = tmpl.render(b'delegations', values).split(mark)
    return Page(head, b''.join(body), rest)


def _page_template(tmpl) -> bytes:
    tmpl.cache[b'header'] = _text(tmpl, b'header') + _STYLESHEET + _VIEWPORT
    text = _PLAIN
    if b'tags' in tmpl:
        tags = _text(tmpl, b'tags')
        found = _ENTRIES.search(tags)
        if found:
            start, end = found.span()
            text = _reworded(tags[:start] + b'{mark}' + tags[end:])
    title = b'<title>{repo|escape}: {title|escape}</title>{mark}'
    # a function, or it would read backslashes
    return re.sub(rb'<title>.*?</title>', lambda _found: title, text, count=1)


def _reworded(text: bytes) -> bytes:
    '''the page of tags as one of delegations'''
    tags = _LINK % (b'tags', b'tags')
    text = _HELP.sub(_beside, text)
    active = re.search(rb'<li class="(\w+)">tags</li>', text)
    if active:
        text = text.replace(active[0], b'<li>%s</li>' % tags)
        ours = b'<li class="%s">delegations</li>' % active[1]
        text = text.replace(b'<li>%s</li>' % _OURS, ours)
    bare = re.compile(rb'^tags \|', re.MULTILINE)
    if bare.search(text):
        text = text.replace(_OURS + b' |', b'delegations |')
        text = bare.sub(lambda _found: tags + b' |', text)
    text = re.sub(rb'<(link|a)\b[^>]*\brss-tags\b[^>]*>(rss</a>)?', b'', text)
    text = text.replace(b'atom-tags', b'atom-delegations')
    text = text.replace(b': tags"', b': delegations"')
    text = text.replace(b' / tags', b' / delegations')
    return re.sub(rb'(<h[1-6][^>]*>)tags(</h)', rb'\1delegations\2', text)


def badges(targets: list[tuple[str, bool]]):
    '''for a template: the targets that have a changeset, and whether the last
    run of each failed'''
    found = []
    for name, is_red in targets:
        label = b'deployed/' + name.encode('ascii')
        title = name.encode('ascii') + b' has this'
        if is_red:
            label += b' (last run failed)'
            title += b'; its last run failed'
        found.append({b'label': label, b'title': title, b'red': is_red})
    return templateutil.mappinglist(found)
