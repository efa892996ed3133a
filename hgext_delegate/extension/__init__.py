# SPDX-License-Identifier: GPL-2.0-or-later
'''what Mercurial calls

hooks         the hooks, and where they are installed
names         deployed/TARGET, wherever a revision is asked for
gate          the gates, which are asked before a push is accepted
gate_desk     what the pusher is told meanwhile
push_hooks    what they do: the outbox entry of a push, and its delegation
early_login   the login that begins while the push is still received
http_reply    the output in the parts of the reply to a push over HTTP
help_topics   ``hg help delegate.TOPIC``
translations  messages in the language of the server
'''
