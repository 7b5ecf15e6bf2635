import Execution
import Git
import Log
import Logging
import Settings
import Shell

/// The settings of one workspace's checks: those of the commit that it holds say what is followed, those of the commit
/// looked at last say all else. Where commits have to be signed, the spec of one that is not is not used.
struct WatchedSettings {
    private let origin: SettingsOrigin
    private let workspace: Workspace
    private let state: StateDirectory
    private let folder: WorkspaceFolder
    private let log: LogOutput
    private let logger: Logger
    private let stop: StopSignal
    /// The settings of the commit that the workspace holds.
    private(set) var ofCheckout: Settings
    /// Which commit that was.
    private var head: String?
    /// The list of signers as it was when it was looked whether they count.
    private var signers: FileStamp?
    /// Those of the commit looked at last: an unchanged check reads no spec.
    private var known: (commit: String, settings: Settings)?
    private var verified = VerifiedCommits()

    init(
        _ base: Settings, origin: SettingsOrigin, workspace: Workspace, state: StateDirectory, folder: WorkspaceFolder,
        log: LogOutput, stop: StopSignal
    ) {
        ofCheckout = base
        self.origin = origin
        self.workspace = workspace
        self.state = state
        self.folder = folder
        self.log = log
        self.stop = stop
        logger = log.logger()
    }

    /// Those that the last check used.
    var newest: Settings { known?.settings ?? ofCheckout }

    /// Makes the next look read those of its commit anew.
    mutating func forget() { known = nil }

    /// The settings of a commit.
    mutating func of(_ commit: String, in repository: Repository) async throws -> Settings {
        if let known, known.commit == commit { return known.settings }
        let settings = try await origin.settings(
            for: commit, in: repository, workspace: workspace.path, stateDirectory: state.path)
        log.learn(settings.secrets)
        known = origin.isSpecOutside(workspace.path) ? nil : (commit, settings)
        return settings
    }

    /// - Parameter git: nil for a commit of the workspace itself.
    /// - Returns: why a commit must not be used; nil when it may.
    mutating func refusal(of commit: String, in repository: Repository, _ git: GitProgram?) async throws -> GitError? {
        guard let signatures = ofCheckout.git.signatures else { return nil }
        return try await verified.refusal(
            of: commit, in: repository.path, signatures, folder: folder.path,
            git ?? origin.localGit(ofCheckout, folder, stop: stop))
    }

    /// Settings that say what to follow may stand in the spec of the commit that the workspace holds.
    mutating func refresh(_ place: Workspace.State) async throws {
        let isOutside = origin.isSpecOutside(workspace.path)
        // A spec outside the checkout may change without a commit.
        let signers = ofCheckout.git.signatures.map { FileStamp($0.signersFile) }
        guard isOutside || place.head != head || signers != self.signers else { return }
        do {
            let base = try origin.base()
            var settings = base
            if let head = place.head, !isOutside,
                try await verified.mayUse(
                    head, in: workspace.path, base, folder, origin.localGit(base, folder, stop: stop))
            {
                settings = try await origin.settings(
                    for: head, in: workspace.repository, workspace: workspace.path, stateDirectory: state.path)
            }
            (ofCheckout, head, self.signers) = (settings, place.head, signers)
        } catch let error as SettingsError where !isOutside {
            // A commit with a wrong spec still leaves what the environment says; its own check reports the spec.
            logger.debug("the spec of the workspace's commit is not used: \(error)")
            (ofCheckout, head, self.signers) = (try origin.base(), place.head, signers)
        } catch let error as GitError {
            // Its commit cannot be read, now; a deployment may mend that, where something else is followed.
            let base = try origin.base()
            guard base.remote != nil else { throw error }
            (ofCheckout, head, self.signers) = (base, nil, nil)
        }
        log.learn(ofCheckout.secrets)
    }
}
