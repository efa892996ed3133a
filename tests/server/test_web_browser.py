"""The pages in a real browser: live, hostile, on a phone, without a mouse."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import browser as browsers
import pytest
from browser import DESKTOP, PHONE, Browser
from deploys import STEPS
from hgrc import targets
from pages import STYLES, publish
from repositories import Clone, Repository
from sources import CHECKOUT
from webservers import hg_serve
from world import World

pytestmark = pytest.mark.once

# hgweb's own pages, with what a strict policy lets them do
CSP = "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'"
EVIL = (
    '"><script>document.title = "taken"; alert(1)</script>'
    '<img src=x onerror=alert(2)>'
)
# right to left from there on; a terminal's title; the end of what is ours
STEERING = '\u202etxt.exe\u2066 </pre></main>\x1b]0;title\x07\x1b[2J'
COLOURED = 'building \\033[1;32mok\\033[0m \\033[31mnot\\033[0m'


@pytest.fixture(scope='module', name='browser')
def a_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsers.started(tmp_path_factory.mktemp('browser')) as browser:
        yield browser


def test_the_output_of_a_deploy_appears_while_it_runs(
    world: World, repository: Repository, ready: Clone, browser: Browser
) -> None:
    publish(world, 'output')
    world.forced_command(STEPS)
    ready.commit()
    push = ready.start_push()
    push.wait_for(b'blog| step 1')
    # without JavaScript, as far as the page is concerned
    browser.command('Emulation.setScriptExecutionDisabled', value=True)
    with hg_serve(world, repository) as url:
        browser.size(*DESKTOP)
        browser.go(f'{url}/delegations/1', complete=False)
        for step in (1, 2, 3):
            browser.wait_for(
                f"document.body?.innerText.includes('step {step}')"
            )
            assert 'deployed' not in browser.text().partition('Output')[2]
            assert browser.ask('document.readyState') == 'loading'
            world.deploy.write(f'go{step}', '')
        browser.wait_for("document.readyState == 'complete'")
        assert 'blog: deployed' in browser.text().partition('step 3')[2]
        # what is said last is in sight
        seen = 'document.querySelector(".verdict").getBoundingClientRect()'
        assert 0 < browser.ask(f'{seen}.top') < DESKTOP[1]
        assert not browser.complaints()
    browser.command('Emulation.setScriptExecutionDisabled', value=False)
    push.finish()


def test_a_policy_that_asks_for_a_nonce_lets_our_style_in(
    world: World, repository: Repository, ready: Clone, browser: Browser
) -> None:
    publish(world, 'output')
    host = (world.server.home / '.hgrc').read_text('utf-8')
    policy = "default-src 'none'; style-src 'nonce-%nonce%'"
    world.server.write('.hgrc', f'{host}[web]\ncsp = {policy}\n')
    ready.commit()
    ready.push()
    with hg_serve(world, repository) as url:
        browser.go(f'{url}/delegations')
        tile = 'document.querySelector(".targets .state-succeeded")'
        shade = f'getComputedStyle({tile}).backgroundColor'
        assert browser.ask(shade) == 'rgb(26, 111, 55)'


def test_what_others_have_written_is_text(
    world: World, repository: Repository, ready: Clone, browser: Browser
) -> None:
    publish(world, 'output')
    host = (world.server.home / '.hgrc').read_text('utf-8')
    world.server.write('.hgrc', f'{host}[web]\ncsp = {CSP}\n')
    hostile = f'{EVIL} {STEERING}'
    world.deploy.write('evil', f'{hostile}\n')
    world.forced_command(
        f"cat >/dev/null\ncat evil\nprintf '{COLOURED}\\n'\nexit 1\n"
    )
    ready.commit('-u', EVIL, message=EVIL)
    ready.push()
    with hg_serve(world, repository) as url:
        for style in STYLES:
            for page in ('delegations', 'delegations/1', 'shortlog'):
                browser.go(f'{url}/{page}?style={style}')
                assert 'taken' not in browser.ask('document.title')
                script = 'document.querySelectorAll("main script, main img")'
                assert browser.ask(f'{script}.length') == 0
                dialogs = [m for m, _ in browser.events if 'Dialog' in m]
                assert not dialogs
                text = browser.text()
                assert not re.search('[\u202a-\u202e\u2066-\u2069\x1b]', text)
            browser.go(f'{url}/delegations/1?style={style}')
            output = browser.ask('document.querySelector("pre").innerText')
            assert EVIL in output and 'building ok not' in output
            # the policy lets our style sheet in, and finds no more fault than
            # with the style's own pages
            green = 'getComputedStyle(document.querySelector("pre .c2")).color'
            assert browser.ask(green) == 'rgb(86, 211, 100)'
            faults = len(browser.complaints())
            browser.go(f'{url}/tags?style={style}')
            assert faults == len(browser.complaints())


# what is wider than its place
WIDE = """[...document.querySelectorAll('*')]
    .filter(e => e.scrollWidth > e.clientWidth && e.clientWidth)
    .map(e => [e.scrollWidth, e.clientWidth, e.outerHTML.slice(0, 80)])"""


BUILD = """\
cat >/dev/null
sleep 0.4
printf 'building 214 pages\\n\\033[32mok\\033[0m     index.html\\n'
"""
BREAKS = BUILD + "printf '\\033[31mfailed\\033[0m menu.html\\n'\nexit 3\n"


@pytest.fixture(name='kitchen')
def two_targets(world: World) -> Repository:
    """A repository with blog, and with docs, whose last run has failed."""
    publish(world, 'output')
    other = world.others[0]
    path = other.write('forced', f'#!/bin/sh\n{BUILD}', 0o755)
    other.authorize(world.key(world.server), str(path))
    more = f'docs = ssh://{other.name}@localhost:{world.port}\n'
    more += 'docs:when = file("docs/**")\n'
    repository = world.repository('kitchen', targets(world, more=more))
    world.forced_command(BUILD)
    clone = world.clone(repository)
    clone.commit(message='write about the oven', files={'docs/a': 'a\n'})
    clone.push()
    other.write('forced', f'#!/bin/sh\n{BREAKS}', 0o755)
    clone.commit(message='mend the link to the menu', files={'docs/a': 'b\n'})
    clone.push()
    return repository


def test_a_phone_a_keyboard_and_a_screen_reader_are_enough(
    world: World, kitchen: Repository, browser: Browser
) -> None:
    with hg_serve(world, kitchen) as url:
        for style in STYLES:
            for page in ('delegations', 'delegations/4'):
                browser.size(*PHONE)
                browser.go(f'{url}/{page}?style={style}')
                # nobody has to scroll to the side, or to enlarge
                width = 'document.documentElement.scrollWidth'
                assert browser.ask(width) == PHONE[0], browser.ask(WIDE)
            roles(browser, f'{url}/delegations?style={style}')
        walk(browser, f'{url}/delegations')


def roles(browser: Browser, url: str) -> None:
    """What a screen reader is told of the list."""
    browser.size(*DESKTOP)
    browser.go(url)
    found = browser.accessible()
    assert [role for role, _ in found].count('main') == 1
    for landmark in (('region', 'Targets'), ('region', 'Delegations')):
        assert landmark in found
    assert ('heading', 'Targets') in found
    heads = [name for role, name in found if role == 'columnheader']
    assert heads[:4] == ['#', 'target', 'state', 'changeset']
    assert ('table', 'Delegations') in found
    # not by its colour alone
    assert ('link', 'failed') in found


def walk(browser: Browser, url: str) -> None:
    """From the list to a delegation by the keyboard alone."""
    browser.go(url)
    active = 'document.activeElement'
    for _ in range(60):
        browser.press('Tab')
        if browser.ask(f'{active}.pathname || ""').endswith('/delegations/4'):
            break
    outline = f'getComputedStyle({active}).outlineStyle'
    assert browser.ask(outline) == 'solid'
    browser.press('Enter')
    browser.wait_for('location.pathname.endsWith("/delegations/4")')
    browser.wait_for("document.readyState == 'complete'")
    assert 'docs: failed: exit status 3' in browser.text()
    log = [name for role, name in browser.accessible() if role == 'log']
    assert log == ['Output']


def test_a_failure_is_seen_from_across_the_room(
    world: World, kitchen: Repository, browser: Browser
) -> None:
    with hg_serve(world, kitchen) as url:
        browser.size(*DESKTOP)
        browser.go(f'{url}/delegations?watch=1')
        box = 'document.querySelector(".targets .state-failed")'
        size = browser.ask(
            f'(r => [r.width, r.height])({box}.getBoundingClientRect())'
        )
        assert size[0] > 250 and size[1] > 80
        shade = browser.ask(f'getComputedStyle({box}).backgroundColor')
        assert shade == 'rgb(179, 19, 31)'
        letters = f'getComputedStyle({box}.querySelector("strong")).fontSize'
        assert float(browser.ask(letters).removesuffix('px')) >= 22
        refresh = 'document.querySelector("meta[http-equiv=refresh]").content'
        assert browser.ask(refresh) == '30'
        # on a screen on a wall it comes by itself
        assert 'http' in browser.ask('location.href')


def test_the_manual_has_pictures_of_them(
    world: World, kitchen: Repository, browser: Browser, tmp_path: Path
) -> None:
    folder = tmp_path
    if os.environ.get('HGD_PICTURES'):
        folder = CHECKOUT / 'docs'
    shots = (
        ('watching-list', 'delegations', (860, 430)),
        ('watching-log', 'shortlog', (860, 260)),
        ('watching-coal', 'delegations/4?style=coal', (860, 540)),
        ('watching-phone', 'delegations/4', (320, 560)),
    )
    with hg_serve(world, kitchen) as url:
        for name, page, size in shots:
            browser.size(*size)
            browser.go(f'{url}/{page}')
            browser.picture(folder / f'{name}.png')
    text = (CHECKOUT / 'docs' / 'watching.rst').read_text('utf-8')
    for name, _page, _size in shots:
        made = (folder / f'{name}.png').read_bytes()
        assert made.startswith(b'\x89PNG') and len(made) < 60_000
        assert f'{name}.png' in text
        assert (CHECKOUT / 'docs' / f'{name}.png').exists()
