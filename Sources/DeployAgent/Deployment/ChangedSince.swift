import Execution
import Git
import Ledger
import Logging
import Settings
import Shell

/// What has changed since the last successful deployment, and which hooks have nothing to do for it.
struct ChangedSince: Sendable {
    /// Nil where it could not be compared: then everything counts as changed.
    var base: String?
    var files: ChangedFiles
    /// Why a hook is not run.
    var skipped: [Hook: String] = [:]

    /// Files that list the paths, a line each, and each ended by NUL.
    struct Lists: Sendable {
        var lines: String
        var ending: String
    }

    /// Writes the lists for the hooks of a deployment; they stay until the next one.
    /// - Returns: nil when they cannot be written.
    func write(_ folder: WorkspaceFolder) -> Lists? {
        let lists = Lists(lines: folder.changedFiles, ending: folder.changedFiles + ".z")
        guard TextFile.write(files.list(endingIn: UInt8(ascii: "\n")), to: lists.lines),
            TextFile.write(files.list(endingIn: 0), to: lists.ending)
        else { return nil }
        return lists
    }
}

/// Decides which hooks a commit needs by the paths that it changes.
struct PathFilter {
    let settings: Settings
    let commit: String
    /// The commit of the last successful deployment.
    let base: String?
    let repository: Repository
    let logger: Logger

    /// What is known of a hook besides.
    enum Standing {
        /// It runs whatever has changed.
        case isAsked
        /// Its last run was for that commit, and succeeded or had nothing to do.
        case ranFor(String)
        case neverRan
    }

    /// - Parameters:
    ///   - fetch: gets the base's commit where it is not there; returns whether it could.
    ///   - standing: is asked of hooks with paths.
    func read(
        fetch: () async -> Bool, standing: (HookSettings) async throws -> Standing
    ) async throws -> ChangedSince {
        // Nobody asks what has changed.
        guard !settings.hooks.isEmpty else { return ChangedSince(base: base, files: ChangedFiles(paths: [])) }
        let filtered = settings.hooks.filter { !$0.paths.isEmpty }
        var changed = try await compare(fetch: filtered.isEmpty ? { false } : fetch)
        // The same commit once more: nothing differs, and there is a reason that the filter does not know.
        guard changed.base != commit else { return changed }
        for hook in filtered {
            switch try await standing(hook) {
            case .isAsked: continue
            case .neverRan: break
            case .ranFor(let last):
                // It may have run for a commit that was not deployed in the end: what it did then counts, too.
                guard last != changed.base, last != commit else { break }
                guard let since = try? await repository.changedFiles(from: last, to: commit), !since.contain(hook.paths)
                else { continue }
            }
            guard !changed.files.contain(hook.paths) else { continue }
            let since = changed.base.map { "that changed since \($0.prefix(7))" } ?? "of the commit"
            changed.skipped[hook.hook] = "no file \(since) matches \(Setting.paths(hook.hook).name)"
        }
        return changed
    }

    private func compare(fetch: () async -> Bool) async throws -> ChangedSince {
        guard let base else { return ChangedSince(files: try await repository.changedFiles(from: nil, to: commit)) }
        for isLast in [false, true] {
            do {
                return ChangedSince(base: base, files: try await repository.changedFiles(from: base, to: commit))
            } catch let error as GitError where error.code == .corrupt {
                guard !isLast, await fetch() else { break }
            }
        }
        logger.notice(
            "\(base.prefix(7)), deployed last, cannot be compared with: everything counts as changed since")
        return ChangedSince(files: try await repository.changedFiles(from: nil, to: commit))
    }
}

extension PathFilter.Standing {
    /// As the record has it.
    init(of hook: HookSettings, series: Int64?, _ scope: Scope, in ledger: any LedgerStore) async throws {
        self = .isAsked
        if let series, try await ledger.failures(series: series, name: hook.hook.rawValue) > 0 { return }
        guard let last = try await ledger.lastRun(scope, kind: .hook, name: hook.hook.rawValue) else {
            self = .neverRan
            return
        }
        // What failed, was broken off or put off is not done, whatever came of its deployment.
        guard last.status == .succeeded || last.status == .skipped,
            let id = last.deployment, let deployment = try await ledger.deployment(id)
        else { return }
        self = .ranFor(deployment.commit)
    }
}
