# SPDX-License-Identifier: GPL-2.0-or-later
'''one guarded SSH session, and what it stands on

session           what the rest of the extension uses of this folder
connection        what is logged in, and the one command that it runs
link              the way of bytes to a host, from dialling to closing
deadline_socket   the socket, under one limit of time
programs          programs that are run: ssh, ssh-keygen, a ProxyCommand
library           paramiko, imported so that it works inside hg
algorithms        which ones are offered
hardening         what paramiko leaves open to the other side, closed
config            where a host name leads, as ssh -G says
tokens, proxy     what ssh -G leaves to be expanded; the program to run
hostkeys          which host key is right, and why another is not
knownhosts        known_hosts, read as OpenSSH reads it
identity          which private keys, and their certificates
keyfile           what is in a private key file, or instead of it
channel           one command on one channel
channel_receiver  what the other side says there, kept within bounds
probe             what a login may do besides running a command
addresses         from where a host sees us
from_option       whether from= of authorized_keys allows an address
rfc4251           strings and numbers as SSH writes them
refusal           why a key may have been refused on this machine
errors, diagnosis why a session failed, and what that means
'''
