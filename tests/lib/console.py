"""Console blocks of a page of the manual, and shells that run them.

A block has lines such as '[hg]$ hg init blog', whose prompt names the account,
'> ' before what continues a command, and what is printed. A block of text that
follows is printed as well.
"""

from __future__ import annotations

import re
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field

BLOCK = re.compile(
    r'^\.\. code-block:: (console|text)\n\n((?:   .*\n|\n)+)', re.MULTILINE
)
PROMPT = re.compile(r'\[([a-z-]+)\][$#] (.*)')


@dataclass
class Command:
    """One command of the page, and the lines that the page shows of what it
    prints."""

    account: str
    text: str
    shown: list[str] = field(default_factory=list)


def commands(page: str) -> Iterator[Command]:
    """The commands of PAGE, in their order."""
    command = None
    for kind, block in BLOCK.findall(page):
        for line in textwrap.dedent(block).strip().splitlines():
            prompt = PROMPT.match(line) if kind == 'console' else None
            if prompt:
                if command:
                    yield command
                command = Command(prompt[1], prompt[2])
                continue
            assert command, line
            if line.startswith('> ') and not command.shown:
                command.text += f'\n{line[2:]}'
            elif line:
                command.shown.append(line)
    if command:
        yield command


def pattern(shown: str) -> re.Pattern[str]:
    """What a line matches that the page shows as SHOWN: '...' is anything,
    and nodes, times and the space between columns differ."""
    text = r'\s+'.join(map(re.escape, shown.split()))
    text = text.replace(r'\.\.\.', '.*')
    text = re.sub(r'\b[0-9a-f]{12}\b', '[0-9a-f]{12}', text)
    return re.compile(re.sub(r'[0-9]+\\\.[0-9](?=\\s\+s$)', '[0-9.]+', text))


class Shell:
    """One account's sh, which keeps its folder between commands."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def run(self, command: str) -> tuple[list[str], int]:
        """The lines that COMMAND prints, and its exit status."""
        assert self._process.stdin and self._process.stdout
        script = f'{{\n{command}\n}} </dev/null 2>&1; echo "-- $?"\n'
        self._process.stdin.write(script.encode())
        self._process.stdin.flush()
        lines: list[str] = []
        for line in self._process.stdout:
            text = line.decode().rstrip('\n')
            if text.startswith('-- '):
                return lines, int(text[3:])
            lines.append(text)
        raise EOFError(f'the shell ended: {lines}')

    def close(self) -> None:
        self._process.communicate()
