"""A real browser: Debian's Chromium, without a window.

It is driven by the DevTools protocol on a pair of pipes (its descriptors 3 and
4), one JSON object after the other, each ended by a NUL.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accounts import PATH

# in CSS pixels
PHONE = (390, 844)
DESKTOP = (1000, 640)

_OPTIONS = (
    *('--headless', '--no-sandbox', '--disable-gpu', '--no-first-run'),
    *('--disable-dev-shm-usage', '--hide-scrollbars'),
    *('--remote-debugging-pipe', 'about:blank'),
)


class Browser:
    """One page of it."""

    def __init__(self, send: int, receive: int) -> None:
        self._send = send
        self._receive = receive
        self._data = b''
        self._numbers = itertools.count(1)
        self._session = ''
        # the events that have come: method and parameters
        self.events: list[tuple[str, dict[str, Any]]] = []
        targets = self.command('Target.getTargets')['targetInfos']
        (page,) = (t['targetId'] for t in targets if t['type'] == 'page')
        attach = {'targetId': page, 'flatten': True}
        attached = self.command('Target.attachToTarget', **attach)
        self._session = attached['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self.command(f'{domain}.enable')

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {'id': number, 'method': method, 'params': parameters}
        if self._session:
            message['sessionId'] = self._session
        os.write(self._send, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._next()
            if answer.get('id') == number:
                assert 'error' not in answer, answer
                result: dict[str, Any] = answer['result']
                return result
            self.events.append((answer.get('method', ''), answer['params']))

    def _next(self) -> dict[str, Any]:
        while b'\0' not in self._data:
            ready, _, _ = select.select([self._receive], [], [], 60)
            data = os.read(self._receive, 1 << 20) if ready else b''
            assert data, 'the browser does not answer'
            self._data += data
        line, _, self._data = self._data.partition(b'\0')
        found: dict[str, Any] = json.loads(line)
        return found

    def go(self, url: str, complete: bool = True) -> None:
        """Open URL; wait until the page is COMPLETE, or just begins."""
        self.events.clear()
        found = self.command('Page.navigate', url=url)
        assert 'errorText' not in found, found
        if complete:
            self.wait_for("document.readyState == 'complete'")

    def size(self, width: int, height: int, scale: float = 1) -> None:
        self.command(
            'Emulation.setDeviceMetricsOverride',
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )

    def ask(self, expression: str) -> Any:
        """What the JavaScript EXPRESSION is in the page."""
        found = self.command(
            'Runtime.evaluate', expression=expression, returnByValue=True
        )
        assert 'exceptionDetails' not in found, found
        return found['result'].get('value')

    def wait_for(self, expression: str, timeout: float = 60) -> None:
        """Until EXPRESSION is true in the page."""
        give_up = time.monotonic() + timeout
        while not self.ask(expression):
            assert time.monotonic() < give_up, (expression, self.text())
            time.sleep(0.02)

    def text(self) -> str:
        """What can be read in the page."""
        return str(self.ask('document.body.innerText'))

    def press(self, key: str) -> None:
        for kind in ('keyDown', 'keyUp'):
            self.command(
                'Input.dispatchKeyEvent',
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode={'Tab': 9, 'Enter': 13}[key],
                **({'text': '\r'} if key == 'Enter' else {}),
            )

    def picture(self, path: Path) -> None:
        found = self.command('Page.captureScreenshot', format='png')
        path.write_bytes(base64.b64decode(found['data']))

    def accessible(self) -> list[tuple[str, str]]:
        """The role and name of what a screen reader finds, in order."""
        nodes = self.command('Accessibility.getFullAXTree')['nodes']
        return [
            (node['role']['value'], node.get('name', {}).get('value', ''))
            for node in nodes
            if not node['ignored']
        ]

    def complaints(self) -> list[str]:
        """What went wrong in the page: errors, what a policy has refused, and
        dialogs, which no page of ours opens."""
        return [
            json.dumps(parameters)
            for method, parameters in self.events
            if method
            in ('Runtime.exceptionThrown', 'Page.javascriptDialogOpening')
            or (
                method == 'Log.entryAdded'
                and parameters['entry']['level'] == 'error'
            )
        ]


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Browser]:
    """With a profile of its own in FOLDER."""
    program = shutil.which('chromium', path=PATH)
    if not program:
        pytest.skip('there is no chromium here')
    command_read, command_write = os.pipe()
    answer_read, answer_write = os.pipe()
    # it has them as 3 and 4; dash knows no descriptor above 9
    shell = f'exec 3<&{command_read} 4>&{answer_write}; exec "$0" "$@"'
    words = [program, f'--user-data-dir={folder}/profile', *_OPTIONS]
    process = subprocess.Popen(
        ['bash', '-c', shell, *words],
        pass_fds=(command_read, answer_write),
        env={'PATH': PATH, 'HOME': str(folder), 'LANG': 'C.UTF-8'},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(command_read)
    os.close(answer_write)
    try:
        browser = Browser(command_write, answer_read)
        yield browser
        with contextlib.suppress(AssertionError, OSError):
            browser.command('Browser.close')
    finally:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(command_write)
        os.close(answer_read)
