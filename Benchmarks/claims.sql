-- What a claim and its completion ask of the server, statement by statement as PostgresLedger does, for pgbench.
-- -D first: the first client's first deployment; -D made: 0, counts on from there.
\set id :first + :client_id * 10000 + :made % 10000
\set made :made + 1

-- claim
BEGIN ISOLATION LEVEL READ COMMITTED\; SET LOCAL statement_timeout TO 30000\; SET LOCAL lock_timeout TO 30000\; SET LOCAL search_path TO "claims";
SELECT fence, holder, host, commit_id, run, round(extract(epoch FROM expires_at - clock_timestamp()) * 1000)::bigint FROM leases
WHERE app = 'floor:client_id' AND name = 'PRE_DEPLOY';
SELECT run, status, failures, round(extract(epoch FROM retry_at - clock_timestamp()) * 1000)::bigint, host, at_commit
FROM outcomes
WHERE app = 'floor:client_id' AND name = 'PRE_DEPLOY' AND commit_id = '000000000000000000000000:id';
INSERT INTO leases (app, name) VALUES ('floor:client_id', 'PRE_DEPLOY') ON CONFLICT DO NOTHING;
SELECT fence, holder, host, commit_id, run, round(extract(epoch FROM expires_at - clock_timestamp()) * 1000)::bigint FROM leases
WHERE app = 'floor:client_id' AND name = 'PRE_DEPLOY' FOR UPDATE;
SELECT run, status, failures, round(extract(epoch FROM retry_at - clock_timestamp()) * 1000)::bigint, host, at_commit
FROM outcomes
WHERE app = 'floor:client_id' AND name = 'PRE_DEPLOY' AND commit_id = '000000000000000000000000:id';
SELECT run, fence FROM leases WHERE app = 'floor:client_id' AND name = 'PRE_DEPLOY' AND holder IS NOT NULL;
UPDATE leases SET fence = fence + 1, holder = 'floor', host = 'h1', commit_id = '000000000000000000000000:id',
    acquired_at = clock_timestamp(), expires_at = clock_timestamp() + interval '20000 milliseconds'
WHERE app = 'floor:client_id' AND name = 'PRE_DEPLOY' RETURNING fence \gset
SELECT failures, attempts FROM outcomes
WHERE app = 'floor:client_id' AND name = 'PRE_DEPLOY' AND commit_id = '000000000000000000000000:id';
SELECT runs.id, runs.kind, runs.name, runs.parent_kind, runs.parent, runs.app, runs.host, runs.workspace, runs.worker,
    runs.marker, runs.command, runs.folder, runs.mode, runs.timeout_ms, runs.attempt, runs.scope, runs.digest,
    runs.hook_commit, round(extract(epoch FROM runs.started_at) * 1000)::bigint, runs.status, runs.exit_code,
    runs.signal, round(extract(epoch FROM runs.completed_at) * 1000)::bigint, runs.error_message, runs.fence,
    runs.is_adopted, runs.adopted, runs.failures
FROM runs WHERE marker = '00000000-0000-0000-:id';
INSERT INTO runs (kind, name, parent_kind, parent, app, host, workspace, worker, marker, command, folder, mode,
    timeout_ms, attempt, scope, digest, hook_commit, started_at, status, exit_code, signal, completed_at,
    error_message, fence, is_adopted, adopted, failures)
VALUES ('hook', 'PRE_DEPLOY', 'deployment', :id::bigint, 'floor:client_id', 'h1', '/srv/shop', NULL,
    '00000000-0000-0000-:id', 'make migrate', '.', 'strict', '600000'::bigint, '1'::bigint, 'fleet', NULL, NULL,
    to_timestamp('1763000000000'::double precision / 1000), 'running', NULL::bigint, NULL::bigint, NULL, NULL,
    :fence::bigint, 'f'::boolean, NULL::bigint, '0'::bigint)
RETURNING id AS run \gset
UPDATE leases SET run = :run::bigint WHERE app = 'floor:client_id' AND name = 'PRE_DEPLOY';
INSERT INTO outcomes AS known (app, name, commit_id, run, fence, status, attempts, digest, host, at_commit, by_app)
VALUES ('floor:client_id', 'PRE_DEPLOY', '000000000000000000000000:id', :run::bigint, :fence::bigint, 'running', 1, NULL, 'h1',
    '000000000000000000000000:id', 'floor:client_id')
ON CONFLICT (app, name, commit_id) DO UPDATE
SET run = excluded.run, fence = excluded.fence, status = excluded.status, retry_at = NULL, attempts = known.attempts + 1,
    digest = excluded.digest, host = excluded.host, at_commit = excluded.at_commit, by_app = excluded.by_app;
COMMIT;

-- complete
BEGIN ISOLATION LEVEL READ COMMITTED\; SET LOCAL statement_timeout TO 30000\; SET LOCAL lock_timeout TO 30000\; SET LOCAL search_path TO "claims";
SELECT 1 FROM leases
WHERE app = 'floor:client_id' AND name = 'PRE_DEPLOY' AND fence = :fence::bigint AND holder = 'floor' FOR UPDATE;
UPDATE runs SET status = 'succeeded', exit_code = '0'::integer, signal = NULL::integer,
    completed_at = to_timestamp('1763000000000'::double precision / 1000), error_message = NULL
WHERE id = :run::bigint AND status IN ('running', 'interrupted');
INSERT INTO run_outputs (run, tail) VALUES (:run::bigint, 'out') ON CONFLICT (run) DO UPDATE SET tail = excluded.tail;
SELECT deployments.series, runs.name FROM runs
JOIN deployments ON runs.parent_kind = 'deployment' AND runs.parent = deployments.id
WHERE runs.id = :run::bigint AND runs.kind = 'hook' \gset of_
SELECT coalesce(max(runs.failures), 0)
FROM runs JOIN deployments ON runs.parent_kind = 'deployment' AND runs.parent = deployments.id
WHERE deployments.series = :of_series::bigint AND runs.kind = 'hook' AND runs.name = 'PRE_DEPLOY';
UPDATE runs SET failures = '0'::integer WHERE id = :run::bigint;
UPDATE outcomes SET status = 'succeeded', failures = failures + '0'::integer,
    retry_at = clock_timestamp() + NULL::bigint * interval '1 millisecond'
WHERE app = 'floor:client_id' AND name = 'PRE_DEPLOY' AND commit_id = '000000000000000000000000:id' AND run = :run::bigint
RETURNING failures;
UPDATE leases SET holder = NULL, host = NULL, commit_id = NULL, run = NULL, acquired_at = NULL, expires_at = NULL
WHERE app = 'floor:client_id' AND name = 'PRE_DEPLOY' AND fence = :fence::bigint AND holder = 'floor';
SELECT pg_notify('deploy_agent_leases:claims', 'floor:client_id');
COMMIT;
