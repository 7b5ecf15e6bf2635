import GRDB

/// The tables of the SQLite ledger, as a list of steps that only ever grows.
///
/// `user_version` counts the steps that a file has; `application_id` tells our files from others'.
enum SQLiteSchema {
    /// "DPLY" in ASCII.
    static let applicationID = 0x4450_4C59

    static let steps: [String] = [
        """
        CREATE TABLE deployments (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            app TEXT NOT NULL,
            host TEXT NOT NULL,
            workspace TEXT NOT NULL,
            commit_id TEXT NOT NULL,
            subject TEXT NOT NULL,
            author TEXT NOT NULL,
            ref TEXT,
            previous_commit TEXT,
            trigger_name TEXT NOT NULL,
            attempt INTEGER NOT NULL,
            series INTEGER NOT NULL,
            status TEXT NOT NULL,
            settled INTEGER NOT NULL DEFAULT 0,
            published INTEGER NOT NULL DEFAULT 0,
            retry_at INTEGER,
            warnings INTEGER NOT NULL DEFAULT 0,
            started_at INTEGER NOT NULL,
            completed_at INTEGER,
            error_message TEXT
        );
        CREATE INDEX deployments_workspace ON deployments (host, workspace, id);
        CREATE INDEX deployments_scope ON deployments (host, app, workspace, id);
        CREATE INDEX deployments_commit ON deployments (host, app, workspace, commit_id, id);
        CREATE INDEX deployments_settled ON deployments (host, app, workspace, id) WHERE settled = 1;
        CREATE INDEX deployments_succeeded ON deployments (host, workspace, id) WHERE status = 'succeeded';
        CREATE INDEX deployments_running ON deployments (workspace) WHERE status = 'running';
        CREATE INDEX deployments_series ON deployments (series);
        CREATE TABLE runs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL,
            name TEXT NOT NULL,
            parent INTEGER NOT NULL,
            marker TEXT NOT NULL,
            command TEXT NOT NULL,
            folder TEXT NOT NULL,
            mode TEXT NOT NULL,
            timeout_ms INTEGER NOT NULL,
            attempt INTEGER NOT NULL,
            failures INTEGER NOT NULL DEFAULT 0,
            status TEXT NOT NULL,
            exit_code INTEGER,
            signal INTEGER,
            started_at INTEGER NOT NULL,
            completed_at INTEGER,
            output_tail TEXT NOT NULL DEFAULT '',
            error_message TEXT
        );
        CREATE INDEX runs_parent ON runs (kind, parent, id);
        CREATE INDEX runs_marker ON runs (marker);
        CREATE INDEX runs_running ON runs (parent) WHERE status = 'running';
        """,
        """
        CREATE TABLE notifications (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            deployment INTEGER NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            created_at INTEGER NOT NULL,
            due_at INTEGER NOT NULL
        );
        CREATE INDEX notifications_deployment ON notifications (deployment);
        CREATE INDEX notifications_due ON notifications (due_at, id);
        """,
        """
        ALTER TABLE runs ADD COLUMN scope TEXT NOT NULL DEFAULT 'host';
        ALTER TABLE runs ADD COLUMN fence INTEGER;
        ALTER TABLE runs ADD COLUMN adopted INTEGER;
        CREATE INDEX deployments_app ON deployments (app, id);
        """,
        """
        ALTER TABLE runs ADD COLUMN digest TEXT;
        ALTER TABLE deployments ADD COLUMN tasks_ran INTEGER;
        ALTER TABLE deployments ADD COLUMN tasks_skipped INTEGER;
        ALTER TABLE deployments ADD COLUMN tasks_failed INTEGER;
        ALTER TABLE deployments ADD COLUMN tasks_error TEXT;
        CREATE TABLE leases (
            app TEXT NOT NULL,
            name TEXT NOT NULL,
            fence INTEGER NOT NULL DEFAULT 0,
            holder TEXT,
            host TEXT,
            commit_id TEXT,
            run INTEGER,
            acquired_at INTEGER,
            expires_at INTEGER,
            boot TEXT,
            PRIMARY KEY (app, name)
        ) WITHOUT ROWID;
        CREATE TABLE outcomes (
            app TEXT NOT NULL,
            name TEXT NOT NULL,
            commit_id TEXT NOT NULL,
            run INTEGER NOT NULL,
            fence INTEGER NOT NULL,
            status TEXT NOT NULL,
            failures INTEGER NOT NULL DEFAULT 0,
            retry_at INTEGER,
            attempts INTEGER NOT NULL DEFAULT 0,
            digest TEXT,
            by_app TEXT,
            host TEXT,
            at_commit TEXT,
            PRIMARY KEY (app, name, commit_id)
        ) WITHOUT ROWID;
        CREATE TABLE task_actions (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            app TEXT NOT NULL,
            task TEXT NOT NULL,
            action TEXT NOT NULL,
            digest TEXT,
            user_name TEXT NOT NULL,
            host TEXT NOT NULL,
            acted_at INTEGER NOT NULL
        );
        CREATE INDEX task_actions_task ON task_actions (task, id);
        """,
        "ALTER TABLE deployments ADD COLUMN held TEXT",
        "ALTER TABLE runs ADD COLUMN hook_commit TEXT",
        "ALTER TABLE deployments ADD COLUMN with_pre INTEGER NOT NULL DEFAULT 0",
    ]
}
