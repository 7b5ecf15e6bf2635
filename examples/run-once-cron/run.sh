#!/usr/bin/env bash
# Runs this example from end to end in a temporary folder and checks that everything is as README.md says.
# The agent is $AGENT, else `agent` in PATH. Ends with 0 when all is well.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
AGENT=$(command -v "${AGENT:-agent}") || { echo "no agent: put it into PATH or name it in AGENT" >&2; exit 1; }
export AGENT

# Settings of the caller must not reach the example.
while read -r name; do unset "$name"; done < <(
    compgen -e | grep -E '^(AGENT_|GITHUB_|PRE_DEPLOY|POST_DEPLOY|DEPLOY_|WORKSPACE_PATH$|GIT_)' || true
)

tmp=$(cd "$(mktemp -d)" && pwd -P)
trap 'rm -rf "$tmp"' EXIT

step() { printf '\n== %s\n' "$*"; }
expect() { # WHAT COMMAND...: says whether the command succeeds
    local what=$1
    shift
    if "$@"; then echo "ok: $what"; else
        echo "NOT AS SAID: $what" >&2
        exit 1
    fi
}
code_of() { # COMMAND...: runs it, keeps its exit code in $code
    code=0
    "$@" || code=$?
}

step "An app repository, and the example's files with $tmp for /srv/shop"
bash "$here/make-app.sh" "$tmp"
for file in deploy.env deploy.sh crontab; do sed "s#/srv/shop#$tmp#g" "$here/$file" >"$tmp/$file"; done
# The very command that cron would run: the crontab's last line without its five time fields.
cron_command=$(tail -n 1 "$tmp/crontab" | cut -d ' ' -f 6-)
cron() { (cd / && sh -c "$cron_command"); }
commit() { # MESSAGE: commits and pushes what lies in the clone
    git -C "$tmp/shop-dev" commit -q -a -m "$1"
    git -C "$tmp/shop-dev" push -q origin main
}
view() { "$AGENT" "$@" --workspace "$tmp/app" --state-dir "$tmp/state"; }

step "cron: the first check deploys"
code_of cron
cat "$tmp/deploy.log"
expect "exit code 0" [ "$code" = 0 ]
expect "the page is built and published" grep -q "version 1, commit $(git -C "$tmp/shop-dev" rev-parse --short=7 HEAD)" "$tmp/app/index.html"

step "cron: the second check has nothing to do"
code_of cron
tail -n 1 "$tmp/deploy.log"
expect "exit code 0" [ "$code" = 0 ]
expect "it says unchanged" grep -q '^unchanged' "$tmp/deploy.log"

step "A commit that the gate refuses"
echo 'version 2 without a title, commit @COMMIT@' >"$tmp/shop-dev/page.html"
commit "The title is lost"
code_of cron
tail -n 3 "$tmp/deploy.log"
expect "exit code 1" [ "$code" = 1 ]
expect "the workspace still shows version 1" grep -q 'version 1' "$tmp/app/index.html"

step "The next check tries it again"
code_of cron
expect "exit code 1" [ "$code" = 1 ]
expect "the record has a second attempt" grep -q '"attempt" : 2' <(view history --limit 1 --json)

step "A commit that mends it, deployed by the CI job's command"
echo '<title>Shop</title> version 3, commit @COMMIT@' >"$tmp/shop-dev/page.html"
commit "The title is back"
code_of bash "$tmp/deploy.sh" --json >"$tmp/ci.json"
grep '"outcome"' "$tmp/ci.json"
expect "exit code 0" [ "$code" = 0 ]
expect "the outcome is deployed" grep -q '"outcome" : "deployed"' "$tmp/ci.json"
expect "the workspace shows version 3" grep -q 'version 3' "$tmp/app/index.html"

step "The record"
view history
statuses=$(view history --json | grep -o '"status" : "[a-z]*"' | cut -d '"' -f 4 | tr '\n' ' ')
expect "four deployments: two succeeded, two failed" [ "$statuses" = "succeeded failed failed succeeded " ]
view show "$(git -C "$tmp/shop-dev" rev-parse HEAD)"

step "All as README.md says"
