"""The pages about delegations in hgweb: what they show, and to whom."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest
from delegations import every_state
from hgrc import targets
from pages import STYLES, get, publish
from repositories import Clone, Repository
from snapshot import contents
from world import World

from hgext_delegate.state import journal as journalmod

FAILS = '. ./record\nprintf "oops <b>\\033[31mred\\033[0m\\n"\nexit 3\n'


@pytest.fixture(name='failed')
def a_success_and_a_failure(
    world: World, repository: Repository, ready: Clone
) -> Clone:
    """Delegation 1 to blog succeeded, 2 failed."""
    repository.hgrc(targets(world) + '[web]\nallow-push = *\npush_ssl = no\n')
    ready.commit(message='the first')
    ready.push()
    world.forced_command(FAILS)
    ready.commit(message='the <second> & more')
    ready.push()
    return ready


@pytest.fixture(name='url')
def served(
    world: World, repository: Repository, failed: Clone
) -> Iterator[str]:
    publish(world, 'output')
    with world.hgweb([repository]) as url:
        yield f'{url}/{repository.path.name}'


def test_each_style_has_the_pages_in_its_own_dress(
    url: str, failed: Clone
) -> None:
    for style in STYLES:
        in_its_own_dress(url, style)
        badges(url, style)


def in_its_own_dress(url: str, style: str) -> None:
    front = get(f'{url}?style={style}')
    (link,) = set(re.findall('href="([^"]*/delegations[?][^"]*)"', front.text))
    name = url.rpartition('/')[2]
    assert link == f'/{name}/delegations?style={style}'
    listed = get(f'{url}/delegations?style={style}')
    assert listed.status == 200 and f'{name}: delegations' in listed.text
    # the header, the menu and the footer are the style's
    tags = get(f'{url}/tags?style={style}').text
    menu = re.findall('href="([^"]*)"', tags)
    assert len(menu) > 8
    missing = [each for each in menu if each not in listed.text]
    entry = re.compile('tag|delegations|/(rev|log|file)/')
    assert not [each for each in missing if not entry.search(each)]
    assert 'rss' not in listed.text.partition('<main')[0]
    assert 'blog failed' in listed.words
    assert '2 blog failed' in listed.words
    assert '1 blog succeeded' in listed.words
    one = get(f'{url}/delegations/2?style={style}')
    assert 'blog: failed: exit status 3' in one.words
    assert 'oops &lt;b&gt;<span class="c1">red</span>' in one.text
    assert '\x1b' not in one.text
    for page in (listed, one):
        # well formed, whatever the style's own frame is
        ElementTree.fromstring(page.content)


def test_the_pages_of_the_help_have_the_link_too(url: str) -> None:
    for style in set(STYLES) - {'spartan'}:  # it has no such pages
        for page in ('help', 'help/revsets', 'help/internals'):
            text = get(f'{url}/{page}?style={style}').text
            menu = re.findall('<ul.*?</ul>|<div class="page_nav.*?</div>',
                              text, re.DOTALL)  # fmt: skip
            (ours,) = [each for each in menu if '/delegations?' in each]
            assert '>help' in ours or '\nhelp\n' in ours
            if style == 'gitweb':
                entry = r'delegations</a> \|\s+(<a [^>]*>)?help'
                assert re.search(entry, ours), ours
                continue
            items = ElementTree.fromstring(ours)
            assert {each.tag for each in items} == {'li'}
            last = [''.join(each.itertext()).strip() for each in items][-2:]
            assert last == ['delegations', 'help'], ours


def badges(url: str, style: str) -> None:
    """The changeset that a target has bears a badge."""
    red = r'<span class="delegation red"[^>]*>deployed/blog \(last run failed\)'
    for page in ('shortlog', 'rev/deployed%252Fblog', 'log', 'graph'):
        text = get(f'{url}/{page}?style={style}').text
        if (style, page) != ('spartan', 'graph'):  # it shows no names at all
            assert len(re.findall(red, text)) == 1, (style, page)
    assert 'class="delegation' not in get(f'{url}/rev/1?style={style}').text


def test_programs_have_json_a_feed_and_text(url: str, failed: Clone) -> None:
    found = json.loads(get(f'{url}/json-delegations').text)
    (target,) = found['targets']
    assert target['target'] == 'blog' and target['failed']
    second, first = found['delegations']
    assert target['node'] == first['node'] and second['node'] == failed.tip()
    assert (first['id'], first['state']) == (1, 'succeeded')
    assert (second['state'], second['reason']) == ('failed', 'exit status 3')
    one = json.loads(get(f'{url}/json-delegations/2').text)
    assert one == {**second, 'output': 'oops <b>red\n'}
    feed = ElementTree.fromstring(get(f'{url}/atom-delegations').text)
    atom = '{http://www.w3.org/2005/Atom}'
    ids = [entry.findtext(f'{atom}id') for entry in feed.iter(f'{atom}entry')]
    name = url.rpartition('/')[2]
    assert [i.partition(name)[2] for i in ids if i] == [
        '/delegations/2',
        '/delegations/1',
    ]
    assert all(i and i.startswith('http://') for i in ids)
    text = get(f'{url}/raw-delegations/2')
    assert text.text.startswith(
        'oops <b>red\ndelegate: blog: failed: exit status 3 after '
    )
    assert text.headers['Content-Type'] == 'text/plain; charset=utf-8'
    assert text.headers['X-Content-Type-Options'] == 'nosniff'
    lines = get(f'{url}/raw-delegations').text.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ['2', 'blog', 'failed'],
        ['1', 'blog', 'succeeded'],
    ]


@pytest.mark.once
def test_what_is_not_there_is_said_with_404(url: str) -> None:
    for path in (
        'delegations/0',
        'delegations/3',
        'delegations/x',
        'delegations/-1',
        'delegations/99999999999999999999999',
        'delegations/1/more',
        'delegations/%3Cscript%3E%0D%0AX-Bad:%201',
        'delegations?target=%3Cb%3E',
        'delegations?before=now',
        'raw-delegations/7',
        'json-delegations/7',
        'atom-delegations/1',
        'rss-delegations',
    ):
        found = get(f'{url}/{path}')
        assert found.status == 404, path
        assert 'script' not in str(found.headers).lower()
        words = 'no such delegation|no page of this style'
        assert re.search(words, found.text), path


def test_a_head_request_has_no_body(url: str) -> None:
    for page in ('delegations', 'delegations/1', 'raw-delegations/1'):
        found = get(f'{url}/{page}', 'HEAD')
        # hg serve of Mercurial 6.3 knows no HEAD
        assert found.status in (200, 501)
        assert found.status == 501 or not found.text


@pytest.mark.once
def test_state_shows_no_output_and_no_person(
    world: World, repository: Repository, failed: Clone
) -> None:
    publish(world, 'state')
    listed = [f'{kind}delegations' for kind in ('', 'json-', 'raw-', 'atom-')]
    with world.hgweb([repository]) as url:
        url = f'{url}/{repository.path.name}'
        for path in ('', 'raw-', 'json-'):
            listed.append(f'{path}delegations/2')
        for path in listed:
            text = get(f'{url}/{path}').text
            assert 'exit status 3' in text
            secret = f'oops|{world.pusher.name}|{world.deploy.name}'
            assert not re.search(secret, text)
    other = world.repository(hgrc=targets(world))
    other.ask('delegate-hold', 'blog', '-m', 'the reason of bob')
    with every_state(world, other), world.hgweb([other]) as url:
        url = f'{url}/{other.path.name}'
        for path in ('delegations', 'json-delegations', 'raw-delegations'):
            text = get(f'{url}/{path}').text
            assert 'cancelled' in text and 'lost' in text and 'running' in text
            assert not re.search('alice|bob|connection', text)
            assert ('held' in text) == ('raw' not in path)
            assert world.server.name not in text
        rows = json.loads(get(f'{url}/json-delegations').text)['delegations']
        reasons = {row['state']: row['reason'] for row in rows}
        assert reasons == {
            'pending': '',
            'running': '',
            'succeeded': '',
            'failed': 'exit status 3',
            'lost': 'no exit status',
            'superseded': '',
            'cancelled': 'cancelled',
        }
        words = get(f'{url}/delegations/7').words
        assert ' blog: cancelled target ' in words and 'failed' not in words
        said = get(f'{url}/raw-delegations/7').text
        assert said == 'delegate: blog: cancelled\n'
        assert 'class="note"' not in get(f'{url}/delegations/3').text
        assert 'class="note"' in get(f'{url}/delegations/1').text
    publish(world, 'output')
    with world.hgweb([other]) as url:
        words = get(f'{url}/{other.path.name}/delegations/7').words
        assert ' blog: cancelled by bob target ' in words


@pytest.mark.once
def test_without_a_setting_of_the_host_nothing_is_published(
    world: World, repository: Repository, failed: Clone
) -> None:
    def shown(host: str = '') -> tuple[int, bool, bool]:
        world.server.write('.hgrc', f'[delegate]\n{host}\n')
        with world.hgweb([repository]) as url:
            url = f'{url}/{repository.path.name}'
            front = get(f'{url}/shortlog').text
            page = get(f'{url}/delegations')
            assert 'deployed/blog' in front  # a name, as a tag is one
            assert ('last run failed' in front) == (page.status == 200)
            one = get(f'{url}/delegations/2').text
            return page.status, '/delegations"' in front, 'oops' in one

    nothing, state, output = (
        (404, False, False),
        (200, True, False),
        (200, True, True),
    )
    assert shown() == nothing
    repository.hgrc(targets(world, more='web = output\n'))
    assert shown() == nothing
    assert shown('allow-repository-config = web') == output
    # a repository may always show less
    assert shown('web = state') == state
    repository.hgrc(targets(world, more='web = no\n'))
    assert shown('web = output') == nothing
    repository.hgrc(targets(world))
    assert shown('web = output') == output
    assert shown('web = yes') == nothing


@pytest.mark.once
def test_nothing_on_a_page_changes_anything(
    repository: Repository, url: str
) -> None:
    get(f'{url}/shortlog')  # Mercurial's caches
    before = contents(repository.path)
    for method in ('GET', 'POST', 'HEAD'):
        for path in ('delegations', 'delegations/2', 'raw-delegations/2'):
            get(f'{url}/{path}?target=blog&id=2', method)
    page = get(f'{url}/delegations')
    assert '<form' not in page.content and '<button' not in page.content
    assert contents(repository.path) == before


@pytest.mark.once
def test_what_is_held_is_said(
    world: World, repository: Repository, url: str
) -> None:
    repository.ask('delegate-hold', 'blog', '-m', 'a <new> database')
    held = rf'held by {world.server.name} since [-0-9: ]* UTC: a &lt;new&gt; '
    assert re.search(held, get(f'{url}/delegations').words)
    (target,) = json.loads(get(f'{url}/json-delegations').text)['targets']
    assert target['held']['reason'] == 'a <new> database'
    # also where one target is shown alone
    repository.hgrc(targets(world, 'blog', 'docs'))
    for query in ('target=blog', 'target=blog&watch=1'):
        words = get(f'{url}/delegations?{query}').words
        assert re.search(f'blog failed has [0-9a-f]{{12}} .* {held}', words)
        assert 'docs' not in words
    page = get(f'{url}/delegations?target=blog')
    assert '?target=blog&amp;watch=1"' in page.text
    found = json.loads(get(f'{url}/json-delegations?target=blog').text)
    assert [each['target'] for each in found['targets']] == ['blog']
    assert json.loads(get(f'{url}/json-delegations?target=x').text) == {
        'targets': [],
        'delegations': [],
    }
    repository.ask('delegate-hold', 'blog', '--release')
    assert 'held' not in get(f'{url}/delegations').words
    # which finds fault with one account for all, without root
    said = repository.ask('delegate-check', check=False).stdout.decode()
    assert "hgweb's pages show state, output and pusher" in said


@pytest.mark.once
def test_who_may_not_read_the_repository_reads_nothing(
    world: World, repository: Repository, failed: Clone
) -> None:
    publish(world, 'output')
    for rule in ('allow_read = bob', 'deny_read = *'):
        repository.hgrc(targets(world) + f'[web]\n{rule}\n')
        publish(world, 'output')
    with world.hgweb([repository]) as url:
        url = f'{url}/{repository.path.name}'
        for path in ('delegations', 'raw-delegations/2', 'delegationscss'):
            found = get(f'{url}/{path}')
            assert found.status == 401 and 'oops' not in found.text


def test_a_page_is_not_modified_only_if_no_badge_is(
    world: World, repository: Repository, url: str, failed: Clone
) -> None:
    front = get(f'{url}/shortlog')
    tag = front.headers['ETag']
    assert get(f'{url}/shortlog', If_None_Match=tag).status == 304
    page = get(f'{url}/delegations')
    assert page.headers['ETag'] is None
    assert 'no-cache' in page.headers['Cache-Control']
    assert get(f'{url}/delegations', If_None_Match=tag).status == 200
    # the store does not change by that
    world.forced_command()
    repository.hg('delegate')
    fresh = get(f'{url}/shortlog', If_None_Match=tag)
    assert fresh.status == 200 and 'last run failed' not in fresh.text
    again = fresh.headers['ETag']
    assert again != tag
    assert get(f'{url}/shortlog', If_None_Match=again).status == 304
    # that of hgweb alone, from before an upgrade, say
    bare = re.sub('-.*"', '"', again)
    assert get(f'{url}/shortlog', If_None_Match=bare).status == 200


@pytest.mark.once
def test_older_ones_and_those_of_a_target_have_their_pages(
    world: World, repository: Repository, url: str, failed: Clone
) -> None:
    world.forced_command()
    for _ in range(20):
        repository.ask('delegate')
    first = get(f'{url}/delegations')
    numbers = re.findall(r'data-label="#"><a href="[^"]*/(\d+)"', first.text)
    assert numbers == [str(n) for n in range(22, 2, -1)]
    (older,) = re.findall('rel="next" href="([^"]*)"', first.text)
    host = url.rpartition('/')[0]
    second = get(host + older)
    numbers = re.findall(r'data-label="#"><a href="[^"]*/(\d+)"', second.text)
    assert numbers == ['2', '1'] and 'rel="next"' not in second.text
    other = get(f'{url}/delegations?target=docs')
    assert 'Nothing was delegated' in other.text
    assert '3 blog' in get(f'{url}/delegations?target=blog').words


@pytest.mark.once
def test_a_journal_that_cannot_be_read_is_said_in_one_line(
    world: World, repository: Repository, url: str
) -> None:
    journal = repository.path / '.hg' / 'delegate' / 'journal'
    for damage in ('absent', 'damaged', 'rights'):
        if damage == 'absent':
            saved = journal.read_bytes()
            journal.unlink()
        elif damage == 'damaged':
            world.server.write(journal, 'no database' * 100)
        else:
            world.server.write(journal, '')
            journal.write_bytes(saved)
            journal.parent.chmod(0)
        page = get(f'{url}/delegations')
        front = get(f'{url}/shortlog')
        assert front.status == 200 and 'last run' not in front.text
        if damage == 'absent':
            # the outbox still knows the pushes
            assert page.status == 200 and 'blog pending' in page.words
        else:
            assert page.status == 500
            (line,) = re.findall('delegations cannot .*', page.text)
            assert line.endswith("see 'hg delegate-check' on the server")
            assert str(repository.path) not in page.text
        assert get(f'{url}/raw-delegations/1').status in (404, 500)
        assert not list(journal.parent.glob('journal.*'))
    journal.parent.chmod(0o700)


@pytest.mark.once
def test_hostile_names_and_output_are_text(
    world: World, repository: Repository, ready: Clone
) -> None:
    evil = '"><script>alert(1)</script>\u202e\u2028</pre></main>&lt;'
    world.forced_command(f"cat >/dev/null\nprintf '%s\\n' '{evil}'\nexit 1\n")
    ready.commit('-u', evil, message=evil)
    ready.push()
    file = repository.path / '.hg' / 'delegate' / 'journal'
    with contextlib.closing(journalmod.open(str(file))) as journal:
        journal.record('blog', '1' * 40, evil)
    publish(world, 'output')
    with world.hgweb([repository]) as url:
        url = f'{url}/{repository.path.name}'
        for path in ('delegations', 'delegations/1', 'atom-delegations'):
            text = get(f'{url}/{path}').text
            assert '<script>alert' not in text
            assert 'alert(1)' in text
            assert '\u202e' not in text and '\u2028' not in text
        assert '\u202e' not in get(f'{url}/raw-delegations/1').text
        ElementTree.fromstring(
            get(f'{url}/delegations/1').content.replace('&nbsp;', ' ')
        )
