#!/usr/bin/env bash
# Runs this example from end to end in a temporary folder and checks that everything is as README.md says.
# The agent is $AGENT, else `agent` in PATH. Ends with 0 when all is well.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
AGENT=$(command -v "${AGENT:-agent}") || { echo "no agent: put it into PATH or name it in AGENT" >&2; exit 1; }

# Settings of the caller must not reach the example.
while read -r name; do unset "$name"; done < <(
    compgen -e | grep -E '^(AGENT_|GITHUB_|PRE_DEPLOY|POST_DEPLOY|DEPLOY_|WORKSPACE_PATH$|GIT_)' || true
)

tmp=$(cd "$(mktemp -d)" && pwd -P)
started=()
clean_up() {
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$tmp"
}
trap clean_up EXIT

step() { printf '\n== %s\n' "$*"; }
fail() {
    echo "NOT AS SAID: $*" >&2
    echo "--- the agent's log:" >&2
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
running() { grep -qx "version $1" "$tmp/running.txt"; }
last_is() { view history --limit 1 --json | grep -q "\"status\" : \"$1\""; }
commit() { # MESSAGE SED-SCRIPT: changes app.sh, commits, pushes
    sed -i "$2" "$tmp/clock-dev/app.sh"
    git -C "$tmp/clock-dev" commit -q -a -m "$1"
    git -C "$tmp/clock-dev" push -q origin main
}
view() { "$AGENT" "$@" --workspace "$tmp/app" --state-dir "$tmp/state"; }

step "An app repository, and the example's files with $tmp for /srv/clock"
bash "$here/make-app.sh" "$tmp"
for file in deploy.env Procfile; do sed "s#/srv/clock#$tmp#g" "$here/$file" >"$tmp/$file"; done
mkdir "$tmp/bin"
ln -s "$AGENT" "$tmp/bin/agent"
PATH=$tmp/bin:$PATH
# Starts one line of the Procfile, as a process manager would.
start() { # NAME
    bash -c "$(sed -n "s/^$1: //p" "$tmp/Procfile")" >>"$tmp/$1.log" 2>&1 &
    started+=("$!")
}

step "The sidecar fills the workspace"
start agent
agent_pid=$!
expect "the first commit is deployed" last_is succeeded
start app
expect "the app runs version 1" running 1

step "A push is deployed within the interval"
commit "Version 2" 's/^version=.*/version=2/'
expect "the app runs version 2" running 2

step "A commit that does not parse"
commit "Broken" 's/^version=.*/version=(/'
expect "its deployment fails" last_is failed
sleep 1
rm "$tmp/running.txt"
expect "the app still runs version 2" running 2
view status

step "A commit that mends it; SIGHUP asks for a check at once"
commit "Version 3" 's/^version=.*/version=3/'
kill -HUP "$agent_pid"
expect "the app runs version 3" running 3
expect "its deployment succeeded" last_is succeeded

step "The record"
view history

step "SIGTERM ends the agent in order"
kill -TERM "$agent_pid"
code=0
wait "$agent_pid" || code=$?
[ "$code" = 0 ] || fail "the agent ends with 0, not $code"
echo "ok: it ends with 0"
view status | grep '^agent'
rm "$tmp/running.txt"
expect "the app goes on" running 3

step "All as README.md says"
