import CAgentShims
import Execution
import Git
import Glibc
import Ledger
import Log
import Logging
public import ServiceLifecycle
import Settings
import Shell

/// `agent rollback`: publishes a commit that was deployed before, itself or by the agent that works on the workspace.
///
/// On graceful shutdown the run in progress is ended and recorded.
public final class Rollback: Service {
    /// Why there is nothing to go back to.
    public struct Refusal: Error, CustomStringConvertible {
        public let description: String
    }

    private let session: AgentSession
    private let inForce: InForce
    private let notifier: Notifier
    private let request: RollbackRequest
    /// The newest deployment before it.
    private let last: Int64
    private let stop = StopSignal()
    private let cell = Cell<CheckOutcome?>(nil)

    /// Finds out where to go back to.
    ///
    /// - Parameters:
    ///   - commit: the beginning of an id that was deployed here, or a full id; nil for the last successful commit before the
    ///     current one.
    ///   - withPre: whether PRE_DEPLOY runs too.
    /// - Throws: `Refusal`, `SettingsError`, `LedgerError`, `GitError`.
    public init(
        session: AgentSession, inForce: InForce, notifier: Notifier, commit: String?, withPre: Bool
    ) async throws {
        self.session = session
        self.inForce = inForce
        self.notifier = notifier
        let (settings, scope, ledger) = (session.settings, session.scope, inForce.ledger)
        // The agent at work knows where it publishes from.
        let isAlone = session.lockHolder() == nil
        if isAlone { try session.state.require(for: settings.workspace) }
        if isAlone, settings.remote == nil {
            throw SettingsError(
                Setting.repoURL.name,
                "is not set, and no agent works on this workspace: set it as that agent has it; a checkout that the agent does not publish to is moved by git",
                source: .fallback)
        }
        let workspace = settings.place
        var head = try await workspace.state().head
        while true {
            let newest = try await ledger.history(.newest(scope)).first?.id ?? 0
            let found: Result<String, any Error>
            do {
                found = .success(try await Self.target(commit, from: head, scope, ledger))
            } catch {
                found = .failure(error)
            }
            // A deployment that ends meanwhile: the record may be of after it, and the commit of before.
            let before = head
            head = try await workspace.state().head
            guard head == before else { continue }
            request = RollbackRequest(commit: try found.get(), held: nil, withPre: withPre)
            last = newest
            return
        }
    }

    /// - Parameter head: what the workspace holds.
    private static func target(
        _ commit: String?, from head: String?, _ scope: Scope, _ ledger: any LedgerStore
    ) async throws -> String {
        // Without those that came to nothing: they hold nothing.
        let latest = try await ledger.facts(scope, commit: "").latest
        guard let current = head ?? latest?.commit else {
            throw Refusal(description: "nothing was deployed to \(scope.workspace) yet")
        }
        let target: String
        if let commit {
            let isHex = commit.allSatisfy { $0.isHexDigit && $0.isASCII }
            guard isHex, (4...40).contains(commit.utf8.count) else {
                throw Refusal(
                    description:
                        "\"\(commit)\" is no commit id, nor the first 4 or more digits of one; `agent history` lists them"
                )
            }
            let known = Set(
                try await ledger.history(.succeeded(scope)).map(\.commit).filter { $0.hasPrefix(commit.lowercased()) })
            guard known.count < 2 else {
                throw Refusal(
                    description:
                        "\"\(commit)\" is the beginning of \(known.sorted().map { $0.prefix(12) }.joined(separator: " and of ")); name more of it"
                )
            }
            let isID = commit.utf8.count == 40
            var filter = HistoryFilter.newest(scope)
            (filter.commit, filter.status) = (commit, .succeeded)
            guard let found = try await ledger.history(filter).first?.commit ?? (isID ? commit.lowercased() : nil)
            else {
                throw Refusal(
                    description:
                        "no deployment of a commit \"\(commit)\" succeeded here; `agent history` lists them, and a full id is taken as it is"
                )
            }
            target = found
        } else {
            let succeeded = try await ledger.history(.succeeded(scope))
            guard let found = WayBack.target(from: current, succeeded, held: latest?.held) else {
                throw Refusal(
                    description: "there is no earlier commit than \(current.prefix(7)) whose deployment succeeded here")
            }
            target = found
        }
        guard target != head else {
            throw Refusal(description: "\(target.prefix(7)) is what the workspace holds already")
        }
        return target
    }

    /// What it came to; nil when it was ended before, or the agent that should do it could not.
    public var outcome: CheckOutcome? { cell.get() }

    /// Whether it was asked to end early.
    public var wasStopped: Bool { stop.isRequested }

    public func run() async throws {
        let folder = session.state.workspace(session.settings.workspace)
        try await withGracefulShutdownHandler {
            let turn = try await takeTurn(folder)
            defer { if turn >= 0 { close(turn) } }
            guard !stop.isRequested else { return }
            if let deployment = await deployment(), deployment.status != .running {
                return cell.set(.deployment(deployment))
            }
            try request.write(folder)
            await carryOut(folder)
        } onGracefulShutdown: {
            self.stop.request()
            self.inForce.ledger.hurry()
            self.notifier.end()
        }
    }

    /// Waits until no other command asks for a rollback of this workspace: one request at a time lies there.
    ///
    /// - Returns: what holds the turn until it is closed; -1 when it was stopped before.
    private func takeTurn(_ folder: WorkspaceFolder) async throws -> Int32 {
        let path = folder.rollback + ".lock"
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            throw SettingsError(
                Setting.stateDirectory.name, "cannot open \(path): \(errorText(errno))", source: .fallback)
        }
        folder.own(descriptor)
        while !stop.isRequested {
            if agent_try_lock(descriptor) == 1 { return descriptor }
            await pause(.milliseconds(50), stop)
        }
        close(descriptor)
        return -1
    }

    private func carryOut(_ folder: WorkspaceFolder) async {
        var isSaid = false
        // When the request was last seen to be there.
        var pending = Timestamp.now
        while !stop.isRequested {
            let attempt: WorkspaceLock.Attempt
            do {
                attempt = try session.attemptLock(command: "rollback")
            } catch {
                return cell.set(.failed(session.log.mask("\(error)")))
            }
            switch attempt {
            case .acquired(let lock):
                defer { lock.release() }
                // The one that had the lock may have done it.
                if RollbackRequest.read(folder) == request {
                    do {
                        // The agent that should have done it has ended meanwhile.
                        try session.state.require(for: folder.workspace)
                    } catch {
                        request.remove(folder)
                        return cell.set(.failed(session.log.mask("\(error)")))
                    }
                    let watcher = session.watcher(lock, inForce, stop: stop)
                    let check = await watcher.check(.manual)
                    lock.update { $0.note(check, at: .now, mask: session.log.secrets.mask) }
                    cell.set(await outcome(of: check))
                    // What did not come to anything is not done later, unasked; what was to follow a failure by itself is.
                    request.remove(folder)
                    if !stop.isRequested, RollbackRequest.read(folder) != nil { _ = await watcher.check(.manual) }
                    await notifier.deliverAll()
                    await watcher.showStopping()
                } else {
                    cell.set(await deployment().map { .deployment($0) })
                }
                return
            case .held(let holder):
                let now = Timestamp.now
                guard RollbackRequest.read(folder) == request else { return cell.set(await recorded(since: pending)) }
                pending = now
                if !isSaid, let holder {
                    isSaid = true
                    let isAwake = wake(holder)
                    session.logger.notice(
                        "\(holder.holder) rolls back\(isAwake ? "" : " at its next check\(holder.nextCheck.map { ", \($0.rfc3339)" } ?? "")")"
                    )
                }
                await pause(.milliseconds(isSaid ? 50 : 10), stop)
            }
        }
        // Somebody else may be at it: then it goes on.
        if let deployment = await deployment() { return cell.set(.deployment(deployment)) }
        request.remove(folder)
    }

    /// What it came to with this process; nil when it was ended before.
    private func outcome(of check: CheckOutcome) async -> CheckOutcome? {
        switch check {
        case .deployment(let made) where made.trigger == .rollback: return check
        case .notRolledBack(let reason): return reason
        case .stopped: return nil
        // Somebody else had done it, and was killed before that could be said.
        default: return await deployment().map { .deployment($0) } ?? check
        }
    }

    /// The rollback that somebody else has carried out; nil when it made none.
    private func deployment() async -> Deployment? {
        let scope = session.scope
        let newest = try? await inForce.ledger.history(
            HistoryFilter(host: scope.host, subject: .workspace(scope.workspace), limit: 10, commit: request.commit))
        // Somebody else may have asked for the same a moment before, and it was under way already.
        return newest?.first {
            $0.trigger == .rollback && ($0.withPre || !request.withPre)
                && ($0.id > last || ($0.completedAt ?? .now).milliseconds >= request.time)
        }
    }

    /// What it came to with somebody else: the deployment, or what that agent says of the check that made none.
    ///
    /// - Parameter time: before it was over.
    private func recorded(since time: Timestamp) async -> CheckOutcome? {
        // The request goes first, then the agent says what came of it.
        for _ in 0..<100 where !stop.isRequested {
            while let deployment = await deployment(), !stop.isRequested {
                // The agent's own, to the same commit.
                if deployment.status != .running || session.lockHolder() == nil { return .deployment(deployment) }
                await pause(.milliseconds(50), stop)
            }
            guard let holder = session.lockHolder() else { return nil }
            if let checked = holder.lastCheck, checked >= time, let problem = holder.lastError {
                switch holder.lastOutcome {
                // It looked at what is due, and has done what was asked for where this record does not have it.
                case "unchanged", "deployed", "deferred":
                    return .failed(
                        "the agent at work has no rollback in this record: give the command its \(Setting.ledgerURL.name) and \(Setting.host.name)"
                    )
                case "unreachable": return .unreachable(problem, holder.lastErrorKind ?? .transient)
                case "misconfigured": return .misconfigured(SettingsError(inWords: problem))
                default: return .failed(problem)
                }
            }
            await pause(.milliseconds(20), stop)
        }
        return nil
    }

    /// Makes an agent that watches check at once.
    ///
    /// - Returns: false when it cannot be reached by a signal: another namespace, another program, or another user.
    private func wake(_ holder: LockRecord) -> Bool {
        var (own, other) = (stat(), stat())
        // `exec` hands SIGHUP to the app.
        let signals = ["run": SIGHUP, "exec": SignalUse.wakes]
        guard let signal = signals[holder.command], stat("/proc/self/exe", &own) == 0,
            stat("/proc/\(holder.pid)/exe", &other) == 0, own.st_ino == other.st_ino, own.st_dev == other.st_dev
        else { return false }
        return kill(holder.pid, signal) == 0
    }
}
