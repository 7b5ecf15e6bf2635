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
SELECT runs.id, runs.kind, runs.name, runs.parent, runs.marker, runs.command, runs.folder, runs.mode, runs.timeout_ms,
    runs.attempt, runs.status, runs.exit_code, runs.signal, round(extract(epoch FROM runs.started_at) * 1000)::bigint,
    round(extract(epoch FROM runs.completed_at) * 1000)::bigint, runs.output_tail, runs.error_message, runs.scope, runs.fence,
    runs.adopted, runs.digest, runs.hook_commit
FROM runs WHERE marker = '00000000-0000-0000-:id';
INSERT INTO runs (kind, name, parent, marker, command, folder, mode, timeout_ms, attempt, scope, fence, status, started_at,
    digest, hook_commit)
VALUES ('hook', 'PRE_DEPLOY', :id::bigint, '00000000-0000-0000-:id', 'make migrate', '.', 'strict', '600000'::bigint,
    '1'::integer, 'fleet', :fence::bigint, 'running', to_timestamp('1763000000000'::double precision / 1000), NULL, NULL)
RETURNING runs.id AS run, runs.kind, runs.name, runs.parent, runs.marker, runs.command, runs.folder, runs.mode,
    runs.timeout_ms, runs.attempt, runs.status, runs.exit_code, runs.signal,
    round(extract(epoch FROM runs.started_at) * 1000)::bigint, round(extract(epoch FROM runs.completed_at) * 1000)::bigint,
    runs.output_tail, runs.error_message, runs.scope, runs.fence AS own_fence, runs.adopted,
    runs.digest, runs.hook_commit \gset
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
    completed_at = to_timestamp('1763000000000'::double precision / 1000), output_tail = 'out', error_message = NULL
WHERE id = :run::bigint AND status IN ('running', 'interrupted');
SELECT deployments.series, runs.name FROM runs JOIN deployments ON runs.parent = deployments.id AND runs.kind = 'hook'
WHERE runs.id = :run::bigint \gset of_
SELECT coalesce(max(runs.failures), 0)
FROM runs JOIN deployments ON runs.parent = deployments.id AND runs.kind = 'hook'
WHERE deployments.series = :of_series::bigint AND runs.name = 'PRE_DEPLOY';
UPDATE runs SET failures = '0'::integer WHERE id = :run::bigint;
UPDATE outcomes SET status = 'succeeded', failures = failures + '0'::integer,
    retry_at = clock_timestamp() + NULL::bigint * interval '1 millisecond'
WHERE app = 'floor:client_id' AND name = 'PRE_DEPLOY' AND commit_id = '000000000000000000000000:id' AND run = :run::bigint
RETURNING failures;
UPDATE leases SET holder = NULL, host = NULL, commit_id = NULL, run = NULL, acquired_at = NULL, expires_at = NULL
WHERE app = 'floor:client_id' AND name = 'PRE_DEPLOY' AND fence = :fence::bigint AND holder = 'floor';
SELECT pg_notify('deploy_agent_leases:claims', 'floor:client_id');
COMMIT;
