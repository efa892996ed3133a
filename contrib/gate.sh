#!/bin/sh
# gate.sh CLONE SCRIPT: the forced command of a gate, for an account that has
# Mercurial and not our extension. Runs SCRIPT in a folder that has the files of
# what is pushed, with HG_NODE, DELEGATE_REPOSITORY (for hg -R) and DELEGATE_NEW
# (a revset). CLONE is pulled, and never gets what is not accepted.
set -efu
export LC_ALL=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin HGPLAIN=1
clone=$1 script=$2; set -- ${SSH_ORIGINAL_COMMAND-}
expr "X$*" : 'Xhg-delegate 1 [A-Za-z0-9][A-Za-z0-9._-]* [0-9a-f]\{40\} gate$' \
    >/dev/null || { echo 'gate.sh: request refused' >&2; exit 2; }
run=$(umask 077 && mktemp -d)
trap 'chmod -R u+rwX "$run"; rm -rf "$run"' EXIT
check=
trap '${check:+kill $check} || :; exit 125' HUP INT TERM PIPE
read -r object && printf '%s\n' "$object" >"$run/json" && cat >"$run/bundle"
exec </dev/null
exec 9>"$clone/.hg/gate-lock" && flock 9
hg -q -R "$clone" --config ui.report_untrusted=no pull
new='bundle()' repository="bundle:$clone+$run/bundle"
# 12 bytes are an empty bundle: what has moved is in the clone already
[ "$(wc -c <"$run/bundle")" -gt 12 ] || { new='none()'; repository=$clone; }
hg -q -R "$repository" archive --hidden -r "id($4)" --type files \
    --config ui.archivemeta=no "$run/tree"
cd "$run/tree"
env -i HOME="$HOME" PATH="$PATH" LANG=C.UTF-8 HG_NODE="$4" \
    DELEGATE_TARGET="$3" DELEGATE_JSON="$run/json" DELEGATE_NEW="$new" \
    DELEGATE_REPOSITORY="$repository" timeout 110 "$script" 9>&- & check=$!
# sshd's process ends with the connection: nobody hears the answer then. A shell
# may stand between.
sshd=$PPID
case $(cat "/proc/$PPID/comm") in
sshd*) ;;
*) sshd=$(cut -d ' ' -f 4 "/proc/$PPID/stat") ;;
esac
(while [ -d "/proc/$sshd" ]; do sleep 1; done; kill "$check") \
    >/dev/null 2>&1 9>&- & watch=$!
status=0; wait "$check" || status=$?
kill "$watch"; exit "$status"
