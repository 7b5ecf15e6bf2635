#!/usr/bin/env bash
# Runs this example from end to end in a temporary folder and checks that everything is as README.md says.
# The agent is $AGENT, else `agent` in PATH. Ends with 0 when all is well.
set -euo pipefail
AGENT=$(command -v "${AGENT:-agent}") || { echo "no agent: put it into PATH or name it in AGENT" >&2; exit 1; }
unshare --pid --fork --mount-proc true 2>/dev/null || { echo "no right to make a PID namespace: run it as root" >&2; exit 1; }

# Settings of the caller must not reach the example.
while read -r name; do unset "$name"; done < <(
    compgen -e | grep -E '^(AGENT_|GITHUB_|PRE_DEPLOY|POST_DEPLOY|DEPLOY_|WORKSPACE_PATH$|GIT_)' || true
)

tmp=$(cd "$(mktemp -d)" && pwd -P)
container=
clean_up() {
    [ -z "$container" ] || kill -KILL "$container" 2>/dev/null || true
    rm -rf "$tmp"
}
trap clean_up EXIT

step() { printf '\n== %s\n' "$*"; }
fail() {
    echo "NOT AS SAID: $*" >&2
    cat "$tmp/agent.log" >&2 || true
    exit 1
}
expect() { # WHAT COMMAND...: waits up to 20 seconds until the command succeeds
    local what=$1 deadline=$((SECONDS + 20))
    shift
    until "$@" 2>/dev/null; do
        [ "$SECONDS" -lt "$deadline" ] || fail "$what"
        sleep 0.1
    done
    echo "ok: $what"
}
said() { grep -qx "$1" "$tmp/said.txt"; }
commit() { # MESSAGE VERSION GATE
    printf 'exit %s\n' "$3" >"$tmp/dev/gate.sh"
    cat >"$tmp/dev/app.sh" <<APP
trap 'echo "version $2 stops" >>"$tmp/said.txt"; exit 12' TERM
echo "version $2 runs" >>"$tmp/said.txt"
while :; do sleep 0.1; done
APP
    git -C "$tmp/dev" add -A
    git -C "$tmp/dev" -c user.name=Example -c user.email=example@example.org commit -q -m "$1"
    git -C "$tmp/dev" push -q origin main
}

step "An app's repository"
git init -q --bare --initial-branch=main "$tmp/app.git"
git init -q --initial-branch=main "$tmp/dev"
git -C "$tmp/dev" remote add origin "$tmp/app.git"
commit "Version 1" 1 0

step "The container starts"
export GITHUB_REPO_URL="$tmp/app.git" WORKSPACE_PATH="$tmp/workspace" AGENT_STATE_DIR="$tmp/state"
export GITHUB_SYNC_INTERVAL=1s AGENT_ON_DEPLOY=restart AGENT_HTTP_HOST=127.0.0.1
export PRE_DEPLOY_COMMAND="bash gate.sh" POST_DEPLOY_COMMAND="echo \"deployed \$DEPLOY_COMMIT_SHORT\" >>$tmp/said.txt"
unshare --pid --fork --mount-proc "$AGENT" exec -- bash app.sh >"$tmp/agent.log" 2>&1 &
container=$!
expect "the app runs version 1" said "version 1 runs"
expect "POST_DEPLOY ran beside it" said "deployed $(git -C "$tmp/dev" rev-parse --short=7 HEAD)"

step "A push"
commit "Version 2" 2 0
expect "version 1 got its SIGTERM" said "version 1 stops"
expect "the app runs version 2" said "version 2 runs"

step "A commit whose PRE_DEPLOY fails"
commit "Version 3" 3 1
expect "its deployment fails" grep -q "PRE_DEPLOY failed" "$tmp/agent.log"
! said "version 2 stops" || fail "version 2 goes on"
echo "ok: version 2 goes on"

step "SIGTERM to PID 1"
kill -TERM "$(pgrep -P "$container")"
code=0
wait "$container" || code=$?
container=
[ "$code" = 12 ] || fail "the container ends with the app's 12, not $code"
echo "ok: the container ends with the app's exit code"
said "version 2 stops" || fail "the app heard of it"

step "All as README.md says"
