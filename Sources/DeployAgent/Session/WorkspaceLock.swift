import CAgentShims
import Execution
import Glibc
public import Ledger
import Settings
import Shell
import Synchronization

/// What the holder of a workspace's lock says of itself: who it is, what its last check found, when the next one comes.
///
/// Text form, one `key=value` a line.
public struct LockRecord: Sendable, Equatable {
    public var pid: Int32
    public var command: String
    public var host: String
    /// Nil when the holder keeps its record in another state directory.
    public var since: Timestamp?
    public var lastCheck: Timestamp?
    public var lastOutcome: String?
    public var lastError: String?
    /// Whether waiting may help.
    public var lastErrorKind: ErrorKind?
    public var nextCheck: Timestamp?

    var text: String {
        var lines = ["pid=\(pid)", "command=\(command)", "host=\(host)"]
        if let since { lines.append("since=\(since.milliseconds)") }
        if let nextCheck { lines.append("next_check=\(nextCheck.milliseconds)") }
        return lines.joined(separator: "\n") + "\n" + checkText
    }

    /// What stays when the lock is given back in order.
    var checkText: String {
        var lines: [String] = []
        if let lastCheck { lines.append("last_check=\(lastCheck.milliseconds)") }
        if let lastOutcome { lines.append("last_outcome=\(lastOutcome)") }
        if let lastErrorKind { lines.append("last_error_kind=\(lastErrorKind.rawValue)") }
        if let lastError {
            lines.append(
                "last_error=\(lastError.split(whereSeparator: \.isNewline).joined(separator: "; ").prefix(2000))")
        }
        return lines.map { $0 + "\n" }.joined()
    }

    /// Notes what a check came to.
    mutating func note(_ outcome: CheckOutcome, at time: Timestamp, mask: (String) -> String) {
        lastCheck = time
        lastOutcome = outcome.name
        lastError = outcome.problem.map(mask)
        lastErrorKind = outcome.errorKind
    }

    init(pid: Int32, command: String, host: String, since: Timestamp?) {
        self.pid = pid
        self.command = command
        self.host = host
        self.since = since
    }

    init?(text: String) {
        var values: [Substring: String] = [:]
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2 { values[parts[0]] = String(parts[1]) }
        }
        func time(_ key: Substring) -> Timestamp? {
            values[key].flatMap { Int64($0) }.map(Timestamp.init(milliseconds:))
        }
        guard let pid = values["pid"].flatMap({ Int32($0) }) else { return nil }
        self.pid = pid
        command = values["command"] ?? ""
        host = values["host"] ?? ""
        since = time("since")
        lastCheck = time("last_check")
        lastOutcome = values["last_outcome"]
        lastError = values["last_error"]
        lastErrorKind = values["last_error_kind"].flatMap(ErrorKind.init)
        nextCheck = time("next_check")
    }

    /// The holder in words.
    public var holder: String {
        "process \(pid) (agent \(command)) on \(host)" + (since.map { " since \($0.rfc3339)" } ?? "")
    }
}

/// The right to work on a workspace. The kernel holds it (fcntl(2), open file description lock), so it ends with the process, however that ends.
package final class WorkspaceLock: Sendable {
    package enum Attempt {
        case acquired(WorkspaceLock)
        /// Another living process has it; nil when it has not said yet who it is.
        case held(LockRecord?)
    }

    /// The file has one size for good, so that an update is one write and a reader never sees two records mixed.
    private static let size = 4096

    private let descriptor: Int32
    /// The workspace's name on this machine, which agents with other state directories claim too; -1 without one.
    private let claim: Cell<Int32>
    private let state: Mutex<LockRecord>
    /// What the holder before left: it did not release the lock by itself, so it was killed.
    let abandoned: LockRecord?

    private init(descriptor: Int32, claim: Int32, record: LockRecord, abandoned: LockRecord?) {
        self.descriptor = descriptor
        self.claim = Cell(claim)
        self.abandoned = abandoned
        state = Mutex(record)
        write(record.text)
    }

    deinit {
        close(descriptor)
        endClaim()
    }

    private func endClaim() {
        let claim = claim.get()
        self.claim.set(-1)
        if claim >= 0 { close(claim) }
    }

    /// Tries to get the lock without waiting.
    ///
    /// - Throws: `SettingsError` when the lock file cannot be opened.
    static func attempt(_ folder: WorkspaceFolder, command: String, host: String) throws -> Attempt {
        let descriptor = open(folder.lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            throw SettingsError(
                Setting.stateDirectory.name, "cannot open the lock file \(folder.lock): \(errorText(errno))",
                source: .fallback)
        }
        folder.own(descriptor)
        switch agent_try_lock(descriptor) {
        case 1: break
        case 0:
            defer { close(descriptor) }
            return .held(read(descriptor))
        default:
            defer { close(descriptor) }
            throw SettingsError(
                Setting.stateDirectory.name,
                "cannot lock \(folder.lock): \(errorText(errno)); name a folder on a file system with locks",
                source: .fallback)
        }
        var pid: Int32 = 0
        var owner: uid_t = 0
        let claim = agent_claim_name("deploy-agent:\(folder.name)", &pid, &owner)
        if claim < 0, errno == EADDRINUSE, isTrusted(owner, workspace: folder.workspace) {
            // An agent with another state directory, another user's perhaps, works on the same workspace.
            defer { close(descriptor) }
            return .held(LockRecord(pid: pid, command: "with another AGENT_STATE_DIR", host: host, since: nil))
        }
        let record = LockRecord(pid: getpid(), command: command, host: host, since: .now)
        return .acquired(
            WorkspaceLock(descriptor: descriptor, claim: claim, record: record, abandoned: read(descriptor)))
    }

    /// Whether a user's claim on a workspace counts: not that of somebody who has nothing to do with it.
    private static func isTrusted(_ user: uid_t, workspace: String) -> Bool {
        var info = stat()
        return user == 0 || user == getuid() || (stat(workspace, &info) == 0 && info.st_uid == user)
    }

    /// Who holds the lock at this moment; nil when nobody does.
    static func holder(_ folder: WorkspaceFolder) -> LockRecord? {
        let descriptor = open(folder.lock, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        return agent_is_locked(descriptor) == 1 ? read(descriptor) : nil
    }

    /// What the last holder says of its last check, whether it lives or not; nil when nobody has said anything.
    static func lastCheck(_ folder: WorkspaceFolder) -> LockRecord? {
        guard let bytes = TextFile.read(folder.lock, limit: size) else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        return LockRecord(text: text.hasPrefix("pid=") ? text : "pid=0\n" + text)
    }

    /// Says what a check found and when the next one comes. Cost: two system calls.
    func update(_ change: (inout LockRecord) -> Void) {
        agent_forget_askers(claim.get())
        let text = state.withLock { record in
            change(&record)
            return record.text
        }
        write(text)
    }

    /// Gives the lock back in order. First the file says no more who holds it: what says so then was left by one that was
    /// killed.
    package func release() {
        write(state.withLock(\.checkText))
        endClaim()
        _ = agent_unlock(descriptor)
    }

    private func write(_ text: String) {
        var bytes = Array(text.utf8.prefix(Self.size - 1))
        bytes += [UInt8](repeating: 10, count: Self.size - bytes.count)
        _ = pwrite(descriptor, bytes, bytes.count, 0)
    }

    private static func read(_ descriptor: Int32) -> LockRecord? {
        var bytes = [UInt8](repeating: 0, count: size)
        let count = pread(descriptor, &bytes, bytes.count, 0)
        return count > 0 ? LockRecord(text: String(decoding: bytes[..<count], as: UTF8.self)) : nil
    }
}
