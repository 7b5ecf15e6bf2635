#!/usr/bin/env bash
# Applies the migrations that the database does not have yet, all of them in one transaction.
#
# The transaction begins with the fence: a copy of this hook whose number is not the newest any more finds no row, and ends
# before it has changed anything. The row stays locked until the end, so two copies never work at the same time, whatever
# has become of their agents.
set -euo pipefail
echo "fence $DEPLOY_FENCE"
# Every 2 seconds the server looks whether psql is still there, also while a statement runs (PostgreSQL 14 and later).
export PGOPTIONS="-c client_connection_check_interval=2s -c lock_timeout=60s"
{
    echo "BEGIN;"
    printf '%s\n' 'UPDATE migration_fence SET fence = :fence WHERE fence <= :fence RETURNING fence AS current \gset'
    for file in migrations/*.sql; do
        printf '%s\n' "SELECT NOT EXISTS (SELECT 1 FROM migrations WHERE name = '$file') AS missing \\gset" '\if :missing'
        printf '%s\n' "\\echo $file"
        cat "$file"
        printf '%s\n' "INSERT INTO migrations (name, fence, node) VALUES ('$file', :fence, :'node');" '\endif'
    done
    echo "COMMIT;"
} | psql -XAtq -v ON_ERROR_STOP=1 -v fence="$DEPLOY_FENCE" -v node="${NODE:-}" "$DATABASE_URL"
