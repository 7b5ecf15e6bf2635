#!/usr/bin/env bash
# A site that is built for each commit, published by a symbolic link, and rolled back by itself and by hand, all in a temporary
# folder; checks that everything is as README.md says. The agent is $AGENT, else `agent` in PATH. Needs git and bash. Takes a few
# seconds. Ends with 0 when all is well.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
AGENT=$(command -v "${AGENT:-agent}") || { echo "no agent: put it into PATH or name it in AGENT" >&2; exit 1; }

# Settings of the caller must not reach the example.
while read -r name; do unset "$name"; done < <(
    compgen -e | grep -E '^(AGENT_|GITHUB_|PRE_DEPLOY|POST_DEPLOY|FAILED_DEPLOY|DEPLOY_|WORKSPACE_PATH$|NOTIFY_|GIT_)' || true
)

tmp=$(cd "$(mktemp -d)" && pwd -P)
trap 'rm -rf "$tmp"' EXIT
step() { printf '\n== %s\n' "$*"; }
check() { # WHAT COMMAND...: says whether the command succeeds
    local what=$1
    shift
    "$@" || { echo "NOT AS SAID: $what" >&2; exit 1; }
    echo "ok: $what"
}
commit() { # MESSAGE
    git -C "$tmp/dev" add -A
    git -C "$tmp/dev" commit -q -m "$1"
    git -C "$tmp/dev" push -q origin main
}
agent() { # EXPECTED-CODE ARGUMENT...
    local code=0 expected=$1
    shift
    "$AGENT" "$@" || code=$?
    check "agent $* ends with $expected" test "$code" = "$expected"
}
shows() { check "readers see \"$1\"" test "$(cat "$tmp/site/dist/index.html")" = "$1"; }
target() { readlink "$tmp/site"; }

set -a
# shellcheck disable=SC1090,SC1091
. <(sed 's/=\(.*\)$/="\1"/' "$here/deploy.env")
set +a
export WORKSPACE_PATH=$tmp/site AGENT_STATE_DIR=$tmp/state GITHUB_REPO_URL=file://$tmp/site.git

step "A repository with a site, its build and its smoke test"
git init -q --bare --initial-branch=main "$tmp/site.git"
git init -q --initial-branch=main "$tmp/dev"
git -C "$tmp/dev" config user.name "Example"
git -C "$tmp/dev" config user.email "example@example.org"
git -C "$tmp/dev" config commit.gpgsign false
git -C "$tmp/dev" remote add origin "$tmp/site.git"
cd "$tmp/dev"
cat >build.sh <<'BUILD'
set -euo pipefail
mkdir -p dist
tr -d '\n' <page.txt >dist/index.html
BUILD
echo 'grep -q Welcome dist/index.html' >smoke-test.sh
echo 'dist/' >.gitignore
echo 'Welcome, version 1' >page.txt
commit "Version 1"

step "The first release"
agent 0 run-once
shows "Welcome, version 1"
first=$(target)
check "site is a symbolic link" test -L "$tmp/site"

step "The next one: built beside it, then the link moves"
echo 'Welcome, version 2' >page.txt
commit "Version 2"
agent 0 run-once
shows "Welcome, version 2"
check "the link leads elsewhere" test "$(target)" != "$first"
check "the first release is still there" test -e "$tmp/$first/dist/index.html"

step "A commit that does not build never gets there"
echo 'exit 1' >build.sh
commit "Broken build"
agent 1 run-once
shows "Welcome, version 2"
git -C "$tmp/dev" revert --no-edit -q HEAD 2>/dev/null || git -C "$tmp/dev" revert --no-edit HEAD >/dev/null

step "One that builds and does not work is rolled back by itself"
echo 'Internal Server Error' >page.txt
commit "Version 3"
agent 1 run-once
shows "Welcome, version 2"
agent 0 run-once
shows "Welcome, version 2"

step "The next commit ends the hold"
echo 'Welcome, version 4' >page.txt
commit "Version 4"
agent 0 run-once
shows "Welcome, version 4"

step "By hand: back, and forth again"
agent 0 rollback
shows "Welcome, version 2"
agent 0 run-once
shows "Welcome, version 2"
agent 0 retry
agent 0 run-once
shows "Welcome, version 4"

step "What ran"
"$AGENT" history
