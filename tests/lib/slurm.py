"""A Slurm cluster of three nodes, which are this machine, on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import servers
from waiting import until

NODES = ('n1', 'n2', 'n3')
CONFIG = """\
ClusterName=hgd
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
MpiDefault=none
SwitchType=switch/none
KillWait=5
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = 'NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port}'


class Slurm:
    """munged, slurmctld and a slurmd for each of NODES. As root alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[bytes]] = []
        folder.mkdir(0o755)
        for name in ('state', *(f'spool-{node}' for node in NODES)):
            (folder / name).mkdir(0o755)
        host = socket.gethostname().partition('.')[0]
        ports = [servers.free_port() for _ in range(len(NODES) + 1)]
        nodes = [
            NODE.format(name=name, host=host, port=port)
            for name, port in zip(NODES, ports[1:])
        ]
        self.config = folder / 'slurm.conf'
        text = CONFIG.format(
            host=host, ports=ports, folder=folder, nodes='\n'.join(nodes)
        )
        self.config.write_text(text, 'utf-8')
        self.environment = {**os.environ, 'SLURM_CONF': str(self.config)}
        try:
            self._munge()
            self._start('slurmctld', '-D', '-c')
            for name in NODES:
                self._start('slurmd', '-D', '-N', name)
            until(lambda: self.ask('sinfo', '-ho', '%D %T') == '3 idle\n')
        except BaseException as exc:
            self.close()
            raise RuntimeError(self.log()) from exc

    def close(self) -> None:
        while self._started:
            process = self._started.pop()
            process.terminate()
            process.wait(60)

    def ask(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self.environment, capture_output=True, check=False
        )
        return done.stdout.decode()

    def jobs(self) -> str:
        return self.ask('squeue', '-h')

    def log(self) -> str:
        found = sorted(self.folder.glob('*.log'))
        return '\n'.join(path.read_text('utf-8', 'replace') for path in found)

    def _munge(self) -> None:
        folder = self.folder / 'munge'
        folder.mkdir(0o755)
        (folder / 'key').write_bytes(os.urandom(128))
        (folder / 'key').chmod(0o400)
        options = [f'--{name}={folder / name.removesuffix("-file")}'
                   for name in ('socket', 'key-file', 'pid-file', 'log-file',
                                'seed-file')]  # fmt: skip
        self._start('munged', '-F', *options)
        until((folder / 'socket').exists)

    def _start(self, program: str, *options: str) -> None:
        # The kernel ends it with us even if we are killed.
        command: Sequence[str] = ('setpriv', '--pdeathsig', 'KILL')
        with (self.folder / f'{program}.log').open('ab') as log:
            self._started.append(
                subprocess.Popen(
                    [*command, program, *options],
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                )
            )
