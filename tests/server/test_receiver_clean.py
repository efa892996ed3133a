"""hg delegate-receive --clean, and what is kept without it."""

from __future__ import annotations

import os
import signal

import protocols
import pytest
from accounts import ROOT
from receivers import WAIT, Receiver, commit, new_id, read_until
from repositories import Clone, Repository
from world import World


@pytest.fixture
def receiver(world: World, repository: Repository) -> Receiver:
    receiver = Receiver(world, repository)
    receiver.install()
    return receiver


@pytest.mark.parametrize('option', ['--clean', '--clean-ignored'])
def test_each_deploy_gets_a_clean_clone(
    receiver: Receiver, clone: Clone, option: str
) -> None:
    receiver.install(last=option)
    receiver.todo(
        'echo built >>file; mkdir page new; touch page/x new/x left kept.o\n'
    )
    files = {'file': 'one\n', '.hgignore': r'\.o$'}
    assert receiver.deploy(commit(clone, files)).returncode == 0
    assert (receiver.clone / 'left').exists()
    receiver.todo('')
    # 'page' is in the way of a file
    ended = receiver.deploy(commit(clone, {'file': 'two\n', 'page': 'x'}))
    assert (ended.returncode, ended.stdout) == (0, b'')
    assert (receiver.clone / 'file').read_text() == 'two\n'
    assert (receiver.clone / 'page').is_file()
    names = {'.hg', '.hgignore', 'file', 'page'}
    if option == '--clean':
        names.add('kept.o')
    assert set(os.listdir(receiver.clone)) == names


def test_a_commit_made_in_the_clone_is_not_left_behind_without_a_word(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.deploy(commit(clone, {'file': 'one\n'}))
    there = Clone(receiver.account, receiver.clone, receiver.world.hg)
    mine = there.commit(files={'mine': 'x'})
    node = commit(clone)
    ended = receiver.deploy(node)
    assert ended.returncode == 0
    assert ended.stdout.decode() == (
        'delegate-receive: a commit made in the clone is left behind: '
        f'{mine[:12]}\n'
        f'(it is kept: hg -R {receiver.clone} export {mine[:12]})\n'
    )
    # once is enough
    assert receiver.deploy(node).stdout == b''


def test_default_is_the_path_to_the_source(
    receiver: Receiver, clone: Clone
) -> None:
    there = Clone(receiver.account, receiver.clone, receiver.world.hg)
    source = receiver.repository.path
    node = commit(clone)
    receiver.deploy(node)
    assert there.hg('paths', 'default').stdout == b'%s\n' % os.fsencode(source)
    moved = f'{source}-moved'
    source.rename(moved)
    receiver.install(source=moved)
    (receiver.clone / '.hg' / 'delegate-source').write_text(f'{moved}\n')
    receiver.deploy(node)
    assert there.hg('paths', 'default').stdout == b'%s\n' % moved.encode()
    # a person's own stays
    hgrc = receiver.clone / '.hg' / 'hgrc'
    receiver.account.write(hgrc, '[ui]\nusername = me\n')
    receiver.deploy(node)
    assert hgrc.read_text() == '[ui]\nusername = me\n'


@pytest.mark.skipif(not ROOT, reason='one account for all')
def test_its_command_line_names_no_site(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.install(clone=str(receiver.account.home / 'blog'))
    receiver.todo('pgrep -u $(id -u) -f blog\necho status $?\n' + WAIT)
    process = receiver.start(*protocols.deploy(commit(clone)))
    said = read_until(process, b'begun')
    # 1: nothing was found
    assert said.startswith(b'status 1\n'), said
    assert receiver.supervisors() and receiver.followers()
    receiver.account.write('go', '')
    process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.parametrize('who', ['supervisor', 'follower'])
def test_a_signal_to_the_receiver_is_named_and_no_cancel(
    receiver: Receiver, clone: Clone, who: str
) -> None:
    receiver.todo(WAIT)
    id = new_id()
    process = receiver.start(*protocols.deploy(commit(clone), id=id))
    read_until(process, b'begun')
    (supervisor,), (follower,) = receiver.supervisors(), receiver.followers()
    for number in (signal.SIGHUP, signal.SIGTERM):
        os.kill(supervisor if who == 'supervisor' else follower, number)
    out, _ = process.communicate(timeout=60)
    assert b'signal TERM was sent to the receiver\n(' in out
    assert b'cancelled\n' not in out
    assert process.returncode == 125
    told = receiver.status(id)
    assert (told['state'], told['status']) == ('failed', 125)


PATCH = """\
diff --git a/.hgignore b/.hgignore
new file mode 100644
--- /dev/null
+++ b/.hgignore
@@ -0,0 +1,1 @@
+{}
"""


def ignoring(clone: Clone, line: str) -> str:
    """A changeset whose .hgignore is LINE, which the pusher's own hg has not
    looked at; the node, which is delivered."""
    patch = clone.owner.write('patch', PATCH.format(line))
    clone.hg('import', '-q', '--bypass', '-m', 'ignore', str(patch))
    node = clone.tip()
    clone.deliver()
    return node


@pytest.mark.once
@pytest.mark.parametrize(
    'line',
    [
        *('include:{}/secret', 'include:/dev/zero', 'include:pipe'),
        *('include:.hg/hgrc', 'subinclude:pipe', 'subinclude:.hg/hgrc'),
    ],
)
def test_a_pushers_hgignore_reads_nothing_outside_the_clone(
    receiver: Receiver, clone: Clone, line: str
) -> None:
    receiver.install(last='--clean')
    home = receiver.account.home
    receiver.account.write('secret', 'machine HTTP(s3cret\n', 0o600)
    receiver.todo('mkfifo pipe\n')
    receiver.deploy(commit(clone))
    receiver.account.write('clone/.hg/hgrc', '[paths]\ndefault = HTTP(s3cret\n')
    receiver.todo('touch left\n')
    for _ in range(2):
        ended = receiver.deploy(ignoring(clone, line.format(home)))
        refused = b'cannot clean the clone' if 'subinclude:.hg' in line else b''
        assert ended.returncode == (121 if refused else 0)
        assert refused in ended.stdout and b's3cret' not in ended.stdout
        clone.hg('update', '-q', '0')


@pytest.mark.once
def test_the_accounts_own_ignore_file_counts(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.account.write('own', r'\.o$')
    receiver.account.write('.hgrc', '[ui]\nignore.own = ~/own\n')
    receiver.install(last='--clean')
    receiver.todo('touch kept.o left\n')
    receiver.deploy(commit(clone))
    receiver.todo('')
    assert receiver.deploy(commit(clone)).returncode == 0
    assert (receiver.clone / 'kept.o').exists()
    assert not (receiver.clone / 'left').exists()


@pytest.mark.once
def test_a_wrong_hgignore_is_told_and_mended_by_a_push(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.install(last='--clean')
    receiver.deploy(commit(clone))
    ended = receiver.deploy(ignoring(clone, 'a(b'))
    assert ended.returncode == 121
    said = ended.stdout.decode()
    assert 'delegate-receive: a pattern in .hgignore is wrong: ' in said
    assert '(correct it, commit and push)' in said
    clone.hg('update', '-q', '0')
    assert receiver.deploy(commit(clone)).returncode == 0


@pytest.mark.once
def test_folders_without_rights_are_cleaned_as_well(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.install(last='--clean')
    receiver.todo('mkdir -p d/e; touch d/e/f; chmod 0 d/e d\n')
    receiver.deploy(commit(clone))
    receiver.todo('')
    ended = receiver.deploy(commit(clone))
    assert (ended.returncode, ended.stdout) == (0, b'')
    assert not (receiver.clone / 'd').exists()
