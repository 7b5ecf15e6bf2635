import Ledger

/// The tables of the SQLite ledger: those of the baseline, then one text for each later version.
///
/// `user_version` has the version too; `application_id` tells our files from others'.
enum SQLiteSchema {
    /// "DPLY" in ASCII.
    static let applicationID = 0x4450_4C59

    /// What brings a file from `version` to the one that is known.
    static func steps(after version: Int) -> ArraySlice<String> {
        version == 0 ? all[...] : all.dropFirst(version - RecordVersion.baseline + 1)
    }

    private static let all = [baseline]

    private static let baseline = """
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
            started_at INTEGER NOT NULL,
            held TEXT,
            with_pre INTEGER NOT NULL DEFAULT 0,
            status TEXT NOT NULL,
            settled INTEGER NOT NULL DEFAULT 0,
            published INTEGER NOT NULL DEFAULT 0,
            retry_at INTEGER,
            warnings INTEGER NOT NULL DEFAULT 0,
            completed_at INTEGER,
            error_message TEXT,
            tasks_ran INTEGER,
            tasks_skipped INTEGER,
            tasks_failed INTEGER,
            tasks_error TEXT
        );
        CREATE INDEX deployments_workspace ON deployments (host, workspace, id);
        CREATE INDEX deployments_scope ON deployments (host, app, workspace, id);
        CREATE INDEX deployments_commit ON deployments (host, app, workspace, commit_id, id);
        CREATE INDEX deployments_settled ON deployments (host, app, workspace, id) WHERE settled = 1;
        CREATE INDEX deployments_succeeded ON deployments (host, workspace, id) WHERE status = 'succeeded';
        CREATE INDEX deployments_running ON deployments (workspace) WHERE status = 'running';
        CREATE INDEX deployments_series ON deployments (series);
        CREATE INDEX deployments_app ON deployments (app, id);
        CREATE TABLE runs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL,
            name TEXT NOT NULL,
            parent_kind TEXT,
            parent INTEGER,
            app TEXT NOT NULL,
            host TEXT NOT NULL,
            workspace TEXT NOT NULL,
            worker TEXT,
            marker TEXT NOT NULL,
            command TEXT NOT NULL,
            folder TEXT NOT NULL,
            mode TEXT NOT NULL,
            timeout_ms INTEGER NOT NULL,
            attempt INTEGER NOT NULL,
            scope TEXT NOT NULL,
            digest TEXT,
            hook_commit TEXT,
            started_at INTEGER NOT NULL,
            status TEXT NOT NULL,
            exit_code INTEGER,
            signal INTEGER,
            completed_at INTEGER,
            error_message TEXT,
            fence INTEGER,
            is_adopted INTEGER NOT NULL DEFAULT 0,
            adopted INTEGER,
            failures INTEGER NOT NULL DEFAULT 0,
            CHECK ((parent_kind IS NULL) = (parent IS NULL))
        );
        CREATE INDEX runs_parent ON runs (parent_kind, parent, id);
        CREATE INDEX runs_marker ON runs (marker);
        CREATE INDEX runs_running ON runs (workspace) WHERE status = 'running';
        CREATE INDEX runs_name ON runs (host, app, workspace, kind, name, id);
        CREATE INDEX runs_alone ON runs (host, app, workspace, id) WHERE parent IS NULL;
        CREATE TABLE run_outputs (
            run INTEGER PRIMARY KEY,
            tail TEXT NOT NULL
        );
        CREATE TABLE notifications (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            deployment INTEGER NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            created_at INTEGER NOT NULL,
            due_at INTEGER NOT NULL
        );
        CREATE INDEX notifications_deployment ON notifications (deployment);
        CREATE INDEX notifications_due ON notifications (due_at, id);
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
            run INTEGER,
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
        CREATE TABLE schema_version (version INTEGER PRIMARY KEY, compatible_from INTEGER NOT NULL);
        """
}
