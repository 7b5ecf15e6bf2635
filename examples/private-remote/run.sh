#!/usr/bin/env bash
# An sshd on loopback, two repositories behind it, and an agent that knows the host's key, all in a temporary folder; checks
# that everything is as README.md says. The agent is $AGENT, else `agent` in PATH. Needs git, bash and Debian's packages
# openssh-client and openssh-server. Takes a few seconds. Ends with 0 when all is well.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
AGENT=$(command -v "${AGENT:-agent}") || { echo "no agent: put it into PATH or name it in AGENT" >&2; exit 1; }
sshd=$(PATH=$PATH:/usr/sbin command -v sshd) || { echo "no sshd: apt-get install openssh-server" >&2; exit 1; }

# Settings of the caller must not reach the example.
while read -r name; do unset "$name"; done < <(
    compgen -e | grep -E '^(AGENT_|GITHUB_|PRE_DEPLOY|POST_DEPLOY|FAILED_DEPLOY|DEPLOY_|WORKSPACE_PATH$|NOTIFY_|GIT_|SSH_)' || true
)

tmp=$(cd "$(mktemp -d)" && pwd -P)
server=
clean_up() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$server" ] || wait "$server" 2>/dev/null || true
    rm -rf "$tmp"
}
trap clean_up EXIT

step() { printf '\n== %s\n' "$*"; }
fail() {
    echo "NOT AS SAID: $*" >&2
    for log in "$tmp"/*.log; do
        echo "--- $log:" >&2
        cat "$log" >&2 || true
    done
    exit 1
}
check() { # WHAT COMMAND...: says whether the command succeeds
    local what=$1
    shift
    "$@" || fail "$what"
    echo "ok: $what"
}
commit() { # REPOSITORY MESSAGE
    git -C "$tmp/$1-dev" add -A
    git -C "$tmp/$1-dev" commit -q -m "$2"
    git -C "$tmp/$1-dev" push -q origin main
}
deploy() { # EXPECTED-CODE: one check, its log shown and kept
    local code=0
    "$AGENT" run-once --json >"$tmp/outcome.json" 2>"$tmp/agent.log" || code=$?
    cat "$tmp/agent.log"
    [ "$code" = "$1" ] || fail "run-once ends with $1, not $code"
    echo "ok: exit code $code"
}
outcome_has() { grep -qF "$1" "$tmp/outcome.json"; }

step "An sshd on loopback that lets one key in, and two repositories"
mkdir "$tmp/git" "$tmp/server" "$tmp/secrets"
ssh-keygen -q -t ed25519 -N '' -C host -f "$tmp/server/host_key"
ssh-keygen -q -t ed25519 -N '' -C deploy -f "$tmp/secrets/deploy_key"
cp "$tmp/secrets/deploy_key.pub" "$tmp/server/authorized_keys"
bash "$here/make-repositories.sh" "$tmp"
[ "$(id -u)" != 0 ] || mkdir -p /run/sshd
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
serve() { # Starts the server on the port; returns whether it listens.
    cat >"$tmp/server/config" <<CONFIG
Port $port
ListenAddress 127.0.0.1
HostKey $tmp/server/host_key
AuthorizedKeysFile $tmp/server/authorized_keys
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=*
CONFIG
    # From 9.8 on it shuts out for a while who went away without logging in.
    if "$sshd" -t -f "$tmp/server/config" -o PerSourcePenalties=no 2>/dev/null; then
        echo PerSourcePenalties no >>"$tmp/server/config"
    fi
    "$sshd" -D -f "$tmp/server/config" -E "$tmp/sshd.log" &
    server=$!
    for _ in $(seq 100); do
        kill -0 "$server" 2>/dev/null || return 1
        if listens "$port"; then return 0; fi
        sleep 0.1
    done
    return 1
}
for _ in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 10000))
    if ! listens "$port" && serve; then break; fi
    server=
done
[ -n "$server" ] || fail "sshd starts"
echo "sshd listens on port $port"

step "The example's settings, with $tmp for /srv/shop and the server for git.example.org"
sed -e "s#/srv/git#$tmp/git#g" -e "s#/srv/shop#$tmp#g" \
    -e "s#ssh://deploy@git.example.org#ssh://$(id -un)@127.0.0.1:$port#" "$here/deploy.env" >"$tmp/deploy.env"
set -a
# shellcheck source=/dev/null
. "$tmp/deploy.env"
set +a
: >"$AGENT_SSH_KNOWN_HOSTS_FILE"

step "A host that is not known is refused"
deploy 78
check "waiting does not help, says the outcome" outcome_has '"error_kind" : "permanent"'
check "nothing is there" [ ! -e "$tmp/app" ]

step "Its key is entered, as the host has published it"
echo "[127.0.0.1]:$port $(cut -d ' ' -f 1,2 "$tmp/server/host_key.pub")" >"$AGENT_SSH_KNOWN_HOSTS_FILE"
deploy 0
check "PRE_DEPLOY ran: every file is new" grep -q 'applying db/0001_orders.sql' "$tmp/agent.log"
check "POST_DEPLOY ran from the hooks' repository" grep -q 'is live: The shop, version 1' "$tmp/agent.log"
first=$(git -C "$tmp/hooks-dev" rev-parse HEAD)
check "the run has the hooks' commit" outcome_has "\"hook_commit\" : \"$first\""

step "A commit that changes nothing below db; and the hooks' repository has moved on"
echo 'The shop, version 2' >"$tmp/shop-dev/page.html"
commit shop "Another page"
sed -i 's/is live/is live now/' "$tmp/hooks-dev/deploy/announce.sh"
commit hooks "Say now"
deploy 0
check "PRE_DEPLOY is skipped" outcome_has '"status" : "skipped"'
check "the hooks' newest commit ran" grep -q 'is live now: The shop, version 2' "$tmp/agent.log"

step "A migration"
echo 'ALTER TABLE orders ADD COLUMN paid boolean;' >"$tmp/shop-dev/db/0002_paid.sql"
commit shop "Orders are paid"
deploy 0
check "PRE_DEPLOY ran for the new file" grep -q 'applying db/0002_paid.sql' "$tmp/agent.log"
check "and for no other" bash -c "! grep -q 'applying db/0001' '$tmp/agent.log'"

step "The server has another key"
kill "$server"
wait "$server" 2>/dev/null || true
rm "$tmp/server/host_key"
ssh-keygen -q -t ed25519 -N '' -C host -f "$tmp/server/host_key"
serve || fail "sshd starts again"
echo 'The shop, version 3' >"$tmp/shop-dev/page.html"
commit shop "Yet another page"
deploy 78
check "it is refused" grep -q 'Host key verification failed' "$tmp/agent.log" "$tmp/outcome.json"
check "the workspace stays as it was" grep -q 'version 2' "$tmp/app/page.html"

step "The record"
"$AGENT" history

step "All as README.md says"
