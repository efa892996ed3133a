# ssh - one guarded SSH session, and what it stands on
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''one guarded SSH session, and what it stands on

session      connects and logs in; the only file that imports paramiko
connection   what is logged in, and the one command that it runs
route        the way there, jump hosts included
sshconfig    what ~/.ssh/config says of a host
configtext   its text, as the reader of ssh_config takes it
hostkey      which host key is right, and why another is not
knownhosts   known_hosts, read as OpenSSH reads it
identity     private keys and certificates, read as OpenSSH reads them
wire         the bytes, under one limit of time
guard        what paramiko leaves open to the other side, closed
inbox        what the other side says on a channel, kept within bounds
channel      one command on one channel
probe        what a login may do besides running a command
failure      what is told of an error
'''
