#!/usr/bin/env bash
# Writes a summary of each match that has none, a few at a time. May be ended and started again at any moment: it goes on
# where it was. A second copy beside it finds the advisory lock taken, and ends.
set -euo pipefail
sql() { psql "$DATABASE_URL" -XAtq -v ON_ERROR_STOP=1 -c "$1"; }
echo "begun at $(date -u +%FT%TZ)"
while true; do
    # One statement is one transaction: the lock ends with it.
    written=$(sql "
        WITH free AS (SELECT pg_try_advisory_xact_lock(hashtext('rebuild-summaries')) AS is_mine), added AS (
            INSERT INTO match_summary (match_id, text)
            SELECT match_id, format('%s:%s', home_goals, away_goals) FROM match_analysis, free
            WHERE is_mine AND NOT EXISTS (SELECT 1 FROM match_summary WHERE match_summary.match_id = match_analysis.match_id)
            ORDER BY match_id LIMIT 10 RETURNING 1
        )
        SELECT CASE WHEN is_mine THEN (SELECT count(*) FROM added)::text ELSE 'busy' END FROM free")
    case $written in
        busy) echo "another copy is at work" && exit 0 ;;
        0) break ;;
    esac
    echo "$written summaries written"
    sleep 0.5
done
echo "ended at $(date -u +%FT%TZ)"
