# SPDX-License-Identifier: GPL-2.0-or-later
'''what the configuration says

targets   the targets, and what is wrong with one
parsers   how a value is read
gates     which targets are gates
policy    what a repository's own hgrc may say
revsets   what it may ask in a revset
'''
