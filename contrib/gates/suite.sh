#!/bin/sh
# A gate: run the test suite that is pushed. It is the pusher's own program, so
# this account is for nothing else.
set -eu
exec timeout 100 python3 -B -m unittest -q
