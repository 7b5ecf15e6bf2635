#!/usr/bin/env bash
# Three agents and a PostgreSQL on this machine, in a temporary folder; checks that everything is as README.md says.
# The agent is $AGENT, else `agent` in PATH. Needs git, bash and Debian's package postgresql. Takes half a minute, most of it
# the wait for a dead agent's lease to end. Ends with 0 when all is well.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
AGENT=$(command -v "${AGENT:-agent}") || { echo "no agent: put it into PATH or name it in AGENT" >&2; exit 1; }
postgres=$(find /usr/lib/postgresql/*/bin -name initdb 2>/dev/null | sort -V | tail -n 1)
postgres=${postgres%/initdb}
[ -n "$postgres" ] || { echo "no PostgreSQL: apt-get install postgresql" >&2; exit 1; }

# Settings of the caller must not reach the example.
while read -r name; do unset "$name"; done < <(
    compgen -e | grep -E '^(AGENT_|GITHUB_|PRE_DEPLOY|POST_DEPLOY|FAILED_DEPLOY|DEPLOY_|WORKSPACE_PATH$|NOTIFY_|GIT_|PG)' || true
)

tmp=$(cd "$(mktemp -d)" && pwd -P)
agents=()
clean_up() {
    for pid in "${agents[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${agents[@]}"; do wait "$pid" 2>/dev/null || true; done
    [ ! -e "$tmp/server/data/postmaster.pid" ] || server pg_ctl -D data -m fast -w stop >/dev/null || true
    rm -rf "$tmp"
}
trap clean_up EXIT

step() { printf '\n== %s\n' "$*"; }
fail() {
    echo "NOT AS SAID: $*" >&2
    for log in "$tmp"/*/agent.log "$tmp/server/log"; do
        echo "--- $log:" >&2
        cat "$log" >&2 || true
    done
    exit 1
}
expect() { # WHAT COMMAND...: waits up to 30 seconds until the command succeeds
    local what=$1 deadline=$((SECONDS + 30))
    shift
    until "$@" 2>/dev/null; do
        [ "$SECONDS" -lt "$deadline" ] || fail "$what"
        sleep 0.1
    done
    echo "ok: $what"
}

# PostgreSQL does not run as root: then the user that Debian's package made runs it.
server() { # PROGRAM ARGUMENT...
    local program=$1
    shift
    local command=("$postgres/$program" "$@")
    [ "$(id -u)" != 0 ] || command=(setpriv --reuid postgres --regid postgres --clear-groups "${command[@]}")
    (cd "$tmp/server" && "${command[@]}")
}
sql() { PGPASSWORD=$password psql -XAtq -v ON_ERROR_STOP=1 -h "$tmp/server" -U admin "$@"; }
url() { echo "postgresql://$1:$password@/shop?host=$tmp/server"; }

step "A PostgreSQL that only a socket in the temporary folder leads to"
chmod 755 "$tmp"
mkdir "$tmp/server"
password=$(git hash-object --stdin </proc/sys/kernel/random/uuid)
(umask 077 && echo "$password" >"$tmp/server/password")
[ "$(id -u)" != 0 ] || chown -R postgres "$tmp/server"
server initdb -D data -U admin --auth=scram-sha-256 --pwfile=password -E UTF8 --locale=C -N >/dev/null
server pg_ctl -D data -l log -w -o "-c listen_addresses= -c unix_socket_directories='$tmp/server' -c fsync=off" start >/dev/null
sql postgres <<SQL
CREATE ROLE shop LOGIN PASSWORD '$password';
CREATE ROLE deploy_agent LOGIN PASSWORD '$password';
CREATE DATABASE shop OWNER shop;
SQL
sql -v agent=deploy_agent -f "$here/grants.sql" shop
PGPASSWORD=$password psql -XAtq -h "$tmp/server" -U shop shop <<'SQL'
CREATE TABLE migration_fence (fence bigint NOT NULL);
INSERT INTO migration_fence VALUES (0);
CREATE TABLE migrations (name text PRIMARY KEY, fence bigint NOT NULL, node text NOT NULL);
SQL
sql -c 'SELECT version()' shop

step "The app's repository"
git init -q --bare --initial-branch=main "$tmp/shop.git"
git init -q --initial-branch=main "$tmp/dev"
git -C "$tmp/dev" remote add origin "$tmp/shop.git"
cp -R "$here/hooks" "$here/appspec.yaml" "$tmp/dev"
mkdir "$tmp/dev/migrations"
commit() { # MESSAGE MIGRATION SQL
    printf '%s\n' "$3" >"$tmp/dev/migrations/$2.sql"
    git -C "$tmp/dev" add -A
    git -C "$tmp/dev" -c user.name=Example -c user.email=example@example.org -c commit.gpgsign=false commit -q -m "$1"
    git -C "$tmp/dev" push -q origin main
}
commit "Items" 1 "CREATE TABLE items (id bigint PRIMARY KEY, price integer NOT NULL);"

step "Three agents, each with a workspace and a state directory of its own"
# What is the same for all. The rest is in appspec.yaml; what the environment sets wins over it.
AGENT_LEDGER_URL=$(url deploy_agent)
DATABASE_URL=$(url shop)
export AGENT_LEDGER_URL DATABASE_URL
export GITHUB_REPO_URL="$tmp/shop.git" GITHUB_SYNC_INTERVAL=1s AGENT_KILL_GRACE=2s ENABLE_DEV_HEALTH=false
on() { # HOST COMMAND...: an agent's command as that host
    AGENT_HOST=$1 NODE=$1 WORKSPACE_PATH="$tmp/$1/app" AGENT_STATE_DIR="$tmp/$1/state" "$AGENT" "${@:2}"
}
declare -A pid_of
start() { # HOST
    mkdir -p "$tmp/$1"
    # The subshell becomes the agent, so that its id is the agent's.
    (
        export AGENT_HOST=$1 NODE=$1 WORKSPACE_PATH="$tmp/$1/app" AGENT_STATE_DIR="$tmp/$1/state"
        exec "$AGENT" run
    ) >>"$tmp/$1/agent.log" 2>&1 &
    pid_of[$1]=$!
    agents+=("$!")
}
deployed() { # COUNT: so many hosts have deployed the newest commit
    [ "$(sql -v "commit=$(git -C "$tmp/dev" rev-parse HEAD)" shop <<<"
        SELECT count(DISTINCT host) FROM deploy_agent.deployments WHERE commit_id = :'commit' AND status = 'succeeded'")" = "$1" ]
}
migrations() { sql -F ' ' -c 'SELECT name, fence FROM migrations ORDER BY name' shop | tr '\n' ';'; }
for host in h1 h2 h3; do start "$host"; done
expect "all three deploy the first commit" deployed 3
[ "$(migrations)" = "migrations/1.sql 1;" ] || fail "the migration ran once: $(migrations)"
echo "ok: the migration ran once, on $(sql -c 'SELECT node FROM migrations' shop), with fence 1"
grep -h 'taken over' "$tmp"/h?/agent.log

step "A commit whose migration takes its time; the agent that runs it is killed with SIGKILL"
commit "Currencies" 2 "ALTER TABLE items ADD COLUMN currency text NOT NULL DEFAULT 'EUR'; SELECT pg_sleep(5);"
holder() {
    sql -c "SELECT host FROM deploy_agent.leases, pg_stat_activity
        WHERE name = 'PRE_DEPLOY' AND holder IS NOT NULL AND query LIKE '%pg_sleep(5)%' AND usename = 'shop' LIMIT 1" shop
}
holds() {
    dead=$(holder)
    [ -n "$dead" ]
}
expect "one of them runs it" holds
kill -KILL "${pid_of[$dead]}"
{ wait "${pid_of[$dead]}" || true; } 2>/dev/null
killed=$SECONDS
echo "$dead has it, and is killed"
taken_over() { [ "$(sql -c "SELECT count(*) FROM deploy_agent.runs WHERE fence = 3" shop)" = 1 ]; }
expect "another one takes over" taken_over
took=$((SECONDS - killed))
[ "$took" -le 25 ] || fail "a dead holder is replaced within 25 seconds, not $took"
echo "ok: that took $took seconds"
expect "both deploy" deployed 2
[ "$(migrations)" = "migrations/1.sql 1;migrations/2.sql 3;" ] || fail "the second migration has fence 3: $(migrations)"
echo "ok: the migration took effect once, on $(sql -c "SELECT node FROM migrations WHERE fence = 3" shop), with fence 3"

step "The dead agent's number is refused by the database"
code=0
(cd "$tmp/dev" && DEPLOY_FENCE=2 bash hooks/migrate.sh) || code=$?
[ "$code" = 3 ] || fail "a hook with fence 2 ends with psql's 3, not $code"
echo "ok: a hook with fence 2 changes nothing"

step "$dead starts again, and finds the migration done"
start "$dead"
expect "it deploys" deployed 3
[ "$(migrations)" = "migrations/1.sql 1;migrations/2.sql 3;" ] || fail "nothing ran again: $(migrations)"
echo "ok: nothing ran again"

step "The record"
on h1 history --all-hosts
echo
on h1 fleet
echo
sql -P format=aligned -P tuples_only=off shop <<'SQL'
SELECT runs.id AS run, runs.host, left(commit_id, 7) AS commit, name, scope, fence, runs.status, adopted FROM deploy_agent.runs
JOIN deploy_agent.deployments ON deployments.id = parent WHERE scope = 'fleet' ORDER BY runs.id;
SQL
found=$(sql -F ' ' -c "SELECT status, fence FROM deploy_agent.runs WHERE fence IS NOT NULL ORDER BY id" shop | tr '\n' ';')
[ "$found" = "succeeded 1;interrupted 2;succeeded 3;" ] || fail "three runs, the second one interrupted: $found"

step "All as README.md says"
