/// One variable that the agent reads: its name, what it takes and what holds without it.
public struct Setting: Sendable, Hashable {
    public let name: String
    /// What holds when it is not set, in words or as a value.
    public let fallback: String
    /// What it takes, as said in an error.
    public let accepts: String
    /// Whether its value is shown as `***`.
    public let isSecret: Bool
    /// The command-line option that sets it too.
    public let option: String?

    private init(
        _ name: String, default fallback: String, _ accepts: String, secret: Bool = false, option: String? = nil
    ) {
        self.name = name
        self.fallback = fallback
        self.accepts = accepts
        self.isSecret = secret
        self.option = option
    }

    package static let durationForm = "a duration greater than zero: 300 (seconds), 300s, 5m, 1h30m or 500ms"
    package static let folderForm = "a folder inside the checkout, relative to its root, without \"..\""
    package static let pathsForm =
        "git pathspecs separated by spaces or newlines, with the magic words top, exclude, icase, literal and glob"
    package static let retriesForm = "unlimited, or a whole number from 0 on"

    package static let workspacePath = Setting(
        "WORKSPACE_PATH", default: "the current directory", "the path of the checkout", option: "--workspace")
    package static let repoURL = Setting(
        "GITHUB_REPO_URL", default: "none: the workspace's own HEAD is watched", "any URL or path that git takes")
    package static let branch = Setting(
        "GITHUB_BRANCH", default: "the remote's default branch", "a branch, a tag, a full commit id or HEAD")
    package static let token = Setting("GITHUB_TOKEN", default: "none", "a token for https remotes", secret: true)
    package static let tokenFile = Setting(
        "GITHUB_TOKEN_FILE", default: "none", "a file that holds a token; read again before every check")
    package static let username = Setting(
        "GITHUB_USERNAME", default: "the one in the URL, else x-access-token",
        "the user that the token is of, without a colon")
    package static let credentialsFile = Setting(
        "AGENT_CREDENTIALS_FILE", default: "none",
        "a file with a URL with user and password for each host, as in git-credential-store(1); read again before every check"
    )
    package static let sshKeyFile = Setting(
        "AGENT_SSH_KEY_FILE", default: "those that ssh finds", "a file that holds a private key without a passphrase")
    package static let sshKnownHostsFile = Setting(
        "AGENT_SSH_KNOWN_HOSTS_FILE", default: "those of the user and the machine",
        "a file of known hosts, as ssh-keyscan prints it")
    package static let sshHostKeyCheck = Setting("AGENT_SSH_HOST_KEY_CHECK", default: "true", "true or false")
    package static let authorityFile = Setting(
        "AGENT_CA_FILE", default: "none: the machine's own",
        "a file of certificates in PEM form, trusted beside the machine's own")
    package static let submodules = Setting("AGENT_SUBMODULES", default: "recursive", "recursive or off")
    package static let gitDepth = Setting(
        "AGENT_GIT_DEPTH", default: "1", "a number of commits, or 0 for the whole history")
    package static let lfs = Setting("AGENT_GIT_LFS", default: "auto", "auto or off")
    package static let verifyCommit = Setting(
        "AGENT_VERIFY_COMMIT", default: "off", "off, ssh or gpg, with AGENT_ALLOWED_SIGNERS_FILE")
    package static let allowedSignersFile = Setting(
        "AGENT_ALLOWED_SIGNERS_FILE", default: "none",
        "a file of allowed signers: for ssh as in ssh-keygen(1), for gpg exported public keys")
    package static let syncInterval = Setting("GITHUB_SYNC_INTERVAL", default: "30", durationForm)
    package static let repoFolder = Setting("GITHUB_REPO_FOLDER", default: "none", folderForm)
    package static let gate = Setting("PRE_DEPLOY_GATE", default: "true", "true or false")
    package static let publish = Setting(
        "AGENT_PUBLISH", default: "in-place", "in-place, or symlink with GITHUB_REPO_URL")
    package static let publishWait = Setting(
        "AGENT_PUBLISH_WAIT", default: "60", "0, or a duration: 300 (seconds), 300s, 5m, 1h30m or 500ms")
    package static let adoptLink = Setting("AGENT_ADOPT_LINK", default: "false", "true or false")
    package static let keepReleases = Setting("AGENT_KEEP_RELEASES", default: "3", "a whole number from 0 on")
    package static let releaseGrace = Setting(
        "AGENT_RELEASE_GRACE", default: "0", "0, or a duration: 300 (seconds), 300s, 5m, 1h30m or 500ms")
    package static let onFailure = Setting(
        "AGENT_ON_FAILURE", default: "none", "none, or rollback with GITHUB_REPO_URL")
    package static let gitTimeout = Setting("AGENT_GIT_TIMEOUT", default: "120", durationForm)
    package static let killGrace = Setting("AGENT_KILL_GRACE", default: "10", durationForm)
    package static let shell = Setting(
        "AGENT_SHELL", default: "bash if present, else sh", "a shell that takes -c COMMAND, as a path or a name in PATH"
    )
    package static let stateDirectory = Setting(
        "AGENT_STATE_DIR",
        default:
            "/var/lib/deploy-agent if it can be written, else $XDG_STATE_HOME/deploy-agent or ~/.local/state/deploy-agent",
        "the path of a folder that the agent may write", option: "--state-dir")
    package static let ledgerURL = Setting(
        "AGENT_LEDGER_URL", default: "sqlite:<state dir>/ledger.sqlite",
        "sqlite:PATH, a postgresql:// URL, or PostgreSQL's keyword=value pairs",
        option: "--ledger")
    package static let ledgerURLFile = Setting(
        "AGENT_LEDGER_URL_FILE", default: "none", "a file that holds the ledger's URL; read again for every connection")
    package static let ledgerTimeout = Setting("AGENT_LEDGER_TIMEOUT", default: "15", durationForm)
    package static let ledgerSchema = Setting(
        "AGENT_LEDGER_SCHEMA", default: "deploy_agent", "the name of a PostgreSQL schema, at most 63 bytes")
    package static let app = Setting(
        "AGENT_APP", default: "name in appspec.yaml, else the workspace's folder name", "the app's name")
    package static let host = Setting("AGENT_HOST", default: "the host's name", "a name for this host")
    package static let appspec = Setting(
        "AGENT_APPSPEC", default: "appspec.yaml or appspec.yml in the checkout",
        "the path of the app spec, relative to the checkout or absolute",
        option: "--appspec")
    package static let deployFile = Setting(
        "AGENT_DEPLOY_FILE", default: "deploy.yaml or deploy.yml in the checkout",
        "the path of the file with the tasks, relative to the checkout or absolute")
    package static let tasksTable = Setting(
        "AGENT_TASKS_TABLE", default: "deploy_tasks in the ledger's schema",
        "table or schema.table of the ledger's PostgreSQL database, of letters, digits and _")
    package static let service = Setting(
        "AGENT_SERVICE", default: "the only service, if there is one", "the name of an entry of services[]")
    package static let logFormat = Setting("AGENT_LOG_FORMAT", default: "text", "text or json", option: "--log-format")
    package static let logLevel = Setting(
        "AGENT_LOG_LEVEL", default: "info", "trace, debug, info, notice, warning, error or critical",
        option: "--log-level")
    package static let keep = Setting("AGENT_KEEP", default: "1000", "a whole number of deployments, at least 1")

    // What only `agent exec` reads, but for AGENT_ON_START and the two about waiting.
    package static let startCommand = Setting(
        "DEV_START_COMMAND", default: "bash dev_startup.sh or bash startup.sh where the workspace has one",
        "a shell command that starts the app")
    package static let appFolder = Setting(
        "APP_DIR", default: "the workspace", "the app's working directory, absolute or below the workspace")
    package static let startTimeout = Setting("AGENT_START_TIMEOUT", default: "5m", durationForm)
    package static let onStart = Setting(
        "AGENT_ON_START", default: "always with exec, changed with run", "always or changed")
    package static let onDeploy = Setting(
        "AGENT_ON_DEPLOY", default: "none", "none, restart or signal:NAME (signal:HUP)")
    package static let waitFor = Setting(
        "POST_DEPLOY_WAIT_FOR", default: "none",
        "tcp:PORT, a URL that begins with http://, or a duration")
    package static let waitTimeout = Setting("POST_DEPLOY_WAIT_TIMEOUT", default: "60", durationForm)
    package static let appCredentials = Setting("AGENT_APP_CREDENTIALS", default: "false", "true or false")
    package static let keepAlive = Setting("AGENT_KEEP_ALIVE", default: "false", "true or false")
    package static let stopGrace = Setting("AGENT_STOP_GRACE", default: "20", durationForm)

    // What `run` and `exec` read for their HTTP server.
    package static let health = Setting("ENABLE_DEV_HEALTH", default: "true", "true or false")
    package static let healthPort = Setting("DEV_HEALTH_PORT", default: "9090", "a port from 1 to 65535")
    package static let httpHost = Setting("AGENT_HTTP_HOST", default: "0.0.0.0", "an address of this host to listen on")

    package static let apiToken = Setting(
        "AGENT_API_TOKEN", default: "none: no API", "a bearer token for /api/v1", secret: true)
    package static let apiTokenFile = Setting(
        "AGENT_API_TOKEN_FILE", default: "none", "a file that holds the token; read again for every request")
    package static let webhookSecret = Setting(
        "AGENT_WEBHOOK_SECRET", default: "none: no webhook", "the secret that the git host signs with", secret: true)
    package static let webhookSecretFile = Setting(
        "AGENT_WEBHOOK_SECRET_FILE", default: "none", "a file that holds the secret; read again for every delivery")

    package static let notifyURL = Setting(
        "NOTIFY_URL", default: "none: nobody is told", "a URL that begins with http:// or https://", secret: true)
    package static let notifySecret = Setting(
        "NOTIFY_SECRET", default: "none: not signed", "the secret that notifications are signed with", secret: true)

    package static func command(_ hook: Hook) -> Setting {
        .init("\(hook.rawValue)_COMMAND", default: "none: no such hook", "a shell command")
    }
    package static func folder(_ hook: Hook) -> Setting {
        .init("\(hook.rawValue)_FOLDER", default: "the checkout's root", folderForm)
    }
    package static func timeout(_ hook: Hook) -> Setting {
        .init("\(hook.rawValue)_TIMEOUT", default: "300", durationForm)
    }
    package static func mode(_ hook: Hook) -> Setting {
        .init("\(hook.rawValue)_MODE", default: hook.defaultMode.rawValue, "strict or lenient")
    }
    package static func scope(_ hook: Hook) -> Setting {
        .init("\(hook.rawValue)_SCOPE", default: "host", "host, or fleet with a PostgreSQL ledger")
    }
    package static func retries(_ hook: Hook) -> Setting {
        .init("\(hook.rawValue)_RETRIES", default: hook.defaultRetries.text, retriesForm)
    }
    package static func paths(_ hook: Hook) -> Setting {
        .init("\(hook.rawValue)_PATHS", default: "none: it runs whatever changed", pathsForm)
    }
    package static func repoURL(_ hook: Hook) -> Setting {
        .init("\(hook.rawValue)_REPO_URL", default: "none: the app's repository", "any URL or path that git takes")
    }
    package static func repoBranch(_ hook: Hook) -> Setting {
        .init(
            "\(hook.rawValue)_REPO_BRANCH", default: "that remote's default branch",
            "a branch, a tag or a full commit id")
    }

    /// Every variable that the agent knows, in the order in which it lists them.
    public static let all: [Setting] =
        [
            workspacePath, repoURL, branch, username, token, tokenFile, credentialsFile, sshKeyFile, sshKnownHostsFile,
            sshHostKeyCheck, authorityFile, gitDepth, submodules, lfs, verifyCommit, allowedSignersFile, syncInterval,
            repoFolder,
        ]
        + [Hook.preDeploy, .postDeploy].flatMap {
            [
                command($0), folder($0), timeout($0), mode($0), retries($0), scope($0), paths($0), repoURL($0),
                repoBranch($0),
            ]
        }
        + [command(.failedDeploy), folder(.failedDeploy), timeout(.failedDeploy)]
        + [
            gate, publish, publishWait, adoptLink, keepReleases, releaseGrace, onFailure, gitTimeout, killGrace, shell,
            stateDirectory,
            ledgerURL, ledgerURLFile, ledgerSchema, ledgerTimeout,
            app, host,
            appspec, service, deployFile, tasksTable, logFormat, logLevel, keep, startCommand, appFolder, startTimeout,
            onStart, onDeploy, waitFor, waitTimeout, appCredentials, keepAlive,
            stopGrace, health, healthPort, httpHost, apiToken, apiTokenFile, webhookSecret, webhookSecretFile,
            notifyURL, notifySecret,
        ]

    package static let knownNames = Set(all.map(\.name))
}
