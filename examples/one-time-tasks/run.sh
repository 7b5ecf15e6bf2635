#!/usr/bin/env bash
# A PostgreSQL, an app with two one-time tasks, and an agent that runs twice, all in a temporary folder; checks that everything
# is as README.md says. The agent is $AGENT, else `agent` in PATH. Needs git, bash and Debian's package postgresql. Takes a
# few seconds. Ends with 0 when all is well.
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
clean_up() {
    # The job in the background ends with the server that it writes to.
    [ ! -e "$tmp/server/data/postmaster.pid" ] || server pg_ctl -D data -m fast -w stop >/dev/null || true
    rm -rf "$tmp"
}
trap clean_up EXIT

step() { printf '\n== %s\n' "$*"; }
fail() {
    echo "NOT AS SAID: $*" >&2
    for log in "$tmp"/*.log "$tmp/server/log"; do
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
GRANT CREATE ON DATABASE shop TO deploy_agent;
SQL
columns() { # How many columns of lineups there are.
    sql -c "SELECT count(*) FROM information_schema.columns WHERE table_name = 'match_analysis'
        AND (column_name LIKE '%lineup%' OR column_name LIKE '%formation' OR column_name LIKE '%substitutes')" shop
}
PGPASSWORD=$password psql -XAtq -v ON_ERROR_STOP=1 -h "$tmp/server" -U shop shop <<'SQL'
CREATE TABLE match_analysis (
    match_id bigint PRIMARY KEY, home_goals integer NOT NULL, away_goals integer NOT NULL,
    home_lineup text, away_lineup text, home_formation text, away_formation text, home_substitutes text,
    away_substitutes text, lineup_source text, lineup_confirmed_at timestamptz, lineup_hash text
);
INSERT INTO match_analysis (match_id, home_goals, away_goals) SELECT n, n % 4, n % 3 FROM generate_series(1, 40) AS n;
CREATE TABLE match_summary (match_id bigint PRIMARY KEY REFERENCES match_analysis, text text NOT NULL);
SQL
sql -c 'SELECT version()' shop
[ "$(columns)" = 9 ] || fail "there are nine columns to drop, not $(columns)"

step "The app's repository"
git init -q --bare --initial-branch=main "$tmp/shop.git"
git init -q --initial-branch=main "$tmp/dev"
git -C "$tmp/dev" remote add origin "$tmp/shop.git"
cp -R "$here/deploy.yaml" "$here/db" "$here/jobs" "$tmp/dev"
commit() { # MESSAGE
    git -C "$tmp/dev" add -A
    git -C "$tmp/dev" -c user.name=Example -c user.email=example@example.org -c commit.gpgsign=false \
        commit -q --allow-empty -m "$1"
    git -C "$tmp/dev" push -q origin main
}
commit "Lineups go"

AGENT_LEDGER_URL=$(url deploy_agent)
DATABASE_URL=$(url shop)
export AGENT_LEDGER_URL DATABASE_URL LOG_DIR=$tmp GITHUB_REPO_URL="$tmp/shop.git" AGENT_APP=shop
on() { # HOST COMMAND...: an agent's command as that host
    AGENT_HOST=$1 WORKSPACE_PATH="$tmp/$1/app" AGENT_STATE_DIR="$tmp/$1/state" "$AGENT" "${@:2}"
}
deploy() { # HOST: what the log says is shown, and kept
    on "$1" run-once 2>"$tmp/$1.log" || fail "$1 deploys"
    cat "$tmp/$1.log"
}
says() { grep -qF "$2" "$tmp/$1.log" || fail "$1 says \"$2\""; }

step "The first deployment runs both tasks"
deploy one
says one "tasks: ran: 2, skipped: 0, failed: 0"
echo "ok: ran: 2"
[ "$(columns)" = 0 ] || fail "no column is left, not $(columns)"
echo "ok: the nine columns are gone"

step "The job that the second task has started goes on without the agent"
finished() { grep -q '^ended' "$tmp/rebuild-summaries-v1.log"; }
expect "it ends by itself" finished
cat "$tmp/rebuild-summaries-v1.log"
summaries=$(sql -c 'SELECT count(*) FROM match_summary' shop)
[ "$summaries" = 40 ] || fail "there are 40 summaries, not $summaries"
echo "ok: 40 summaries"

step "The next commit, in a new container: another host, an empty disk, the same ledger"
commit "Something else"
deploy two
says two "tasks: ran: 0, skipped: 2, failed: 0"
echo "ok: skipped: 2"
[ "$(grep -c '^begun' "$tmp/rebuild-summaries-v1.log")" = 1 ] || fail "the job was started once"

step "The record"
on two tasks
echo
sql -P format=aligned -P tuples_only=off -c 'SELECT * FROM deploy_agent.deploy_tasks ORDER BY completed_at' shop
found=$(sql -c "SELECT id, result FROM deploy_agent.deploy_tasks WHERE completed_at IS NOT NULL ORDER BY id" shop | tr '\n' ';')
[ "$found" = "drop-lineup-columns-v1|success;rebuild-summaries-v1|success;" ] || fail "both are done: $found"

step "All as README.md says"
