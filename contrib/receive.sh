#!/bin/sh
# receive.sh SCRIPT: the forced command of a deploy account without Mercurial.
# Runs SCRIPT, which needs no connection, one at a time, with HG_NODE,
# DELEGATE_TARGET and DELEGATE_JSON; keeps its output in ~/deploys for 30 days.
set -efu
export LC_ALL=C PATH=/usr/local/bin:/usr/bin:/bin
script=$1; set -- ${SSH_ORIGINAL_COMMAND-}
expr "X$*" : 'Xhg-delegate 1 [A-Za-z0-9][A-Za-z0-9._-]* [0-9a-f]\{40\}$' \
    >/dev/null || { echo 'receive.sh: request refused' >&2; exit 2; }
run=$(umask 077 && mkdir -p ~/deploys && mktemp -d ~/deploys/XXXXXXXXXX)
head -c 2097152 >"$run/json" && : >"$run/log"
find ~/deploys -mindepth 1 -mtime +30 -delete || :
size() { wc -c <"$run/log"; }
{ flock 1 && exec env -i HOME="$HOME" PATH="$PATH" HG_NODE="$4" \
    DELEGATE_TARGET="$3" DELEGATE_JSON="$run/json" setsid flock -o ~/deploys \
    "$script"
} </dev/null >>"$run/log" 2>&1 & job=$!
sleep infinity >/dev/null & ends=$!
tail -n +1 -s 0.1 -f --pid=$ends "$run/log" & shown=$! status=0
wait $job || status=$?
# Whoever has its output open has the lock of the log as well: a filter, or a
# server that it has left running. Two seconds of silence are its end, too.
for wait in 1 2 3; do was=$(size)
    flock -w 2 "$run/log" true && break; [ "$was" != "$(size)" ] || break; done
kill $ends; wait $shown || :; exit $status
