# SPDX-License-Identifier: GPL-2.0-or-later
'''what Mercurial calls

hooks         the hooks, and where they are installed
names         deployed/TARGET, wherever a revision is asked for
gate          the gates, which are asked before a push is accepted
gate_desk     what the pusher is told meanwhile
push_hooks    what they do: the outbox entry of a push, and its delegation
early_login   the login that begins while the push is still received
push_channel  the pushkey namespace for clients without a shell on the server
channel_requests  what they ask for: list, delegate, cancel
http_reply    the output in the parts of the reply to a push over HTTP
web           the pages about delegations: what is added to hgweb for them
web_commands  what hgweb answers for them
web_records   what they may show, read from the journal
web_page      their HTML
web_text      what others have written, as HTML and as text; the last line
web_feeds     JSON, the feed, and text
web_live      the page that goes on while its delegation runs
web_dress     the dress of hgweb's styles, the link and the badges
help_topics   ``hg help delegate.TOPIC``
translations  messages in the language of the server
'''
