# receiver - hg delegate-receive
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''hg delegate-receive: the receiver, a forced command for the deploy account

command         the options on its command line
reception       one session with the server account
orders          what that asks for, read strictly
strictjson      JSON that is read strictly
runs            what is known of each delegation, in files
supervisor      a process of its own, which runs one of them
clone           the clone that it brings to a changeset
job             the program that it runs there
runlog          what that prints
follow          the same, told to whoever asked
detach          how a process outlives the one that starts it
authorizedkeys  the file into which --install writes
'''
