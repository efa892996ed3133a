#!/bin/sh
# A gate: lint the Python files that a push changes, at each of its heads. What
# ruff looks for is said here, not by a file that is pushed.
set -eu
status=0
on() { hg -R "$DELEGATE_REPOSITORY" "$@"; }
for head in $(on log -r "heads($DELEGATE_NEW)" -T '{node} '); do
    base=$(on log -T '{node}' -r "last(parents(roots(::$head and $DELEGATE_NEW)))")
    tree=$(mktemp -d "$PWD/XXXXXXXXXX")
    on archive -q --type files -r "$head" "$tree"
    on status -0 -nam --rev "${base:-null}" --rev "$head" -I 'rootglob:**.py' >"$tree.names"
    (cd "$tree" && xargs -0r ruff check -q --isolated -- <"$tree.names") ||
        status=1
done
exit $status
