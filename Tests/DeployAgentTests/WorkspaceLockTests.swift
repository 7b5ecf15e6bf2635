import Execution
import Foundation
import Ledger
import Shell
import TestSupport
import Testing

@testable import DeployAgent
@testable import Settings

@Suite(.timeLimit(.minutes(1)))
struct WorkspaceLockTests {
    let temporary: TemporaryFolder
    let folder: WorkspaceFolder

    init() throws {
        temporary = try TemporaryFolder()
        let state = StateDirectory(path: temporary.path + "/state")
        try state.prepare(for: temporary.path)
        folder = state.workspace(temporary.path)
    }

    private func acquire() throws -> WorkspaceLock? {
        if case .acquired(let lock) = try WorkspaceLock.attempt(folder, command: "run", host: "h") { lock } else { nil }
    }

    /// The lock once it is free: another test may be starting a program at this moment, which has all that this process had
    /// open until it is executed.
    private func acquireOnceFree() async throws -> WorkspaceLock? {
        var lock: WorkspaceLock?
        _ = try await eventually {
            lock = try acquire()
            return lock != nil
        }
        return lock
    }

    @Test("a second attempt is told who holds the lock; a release hands it on")
    func exclusive() async throws {
        let lock = try #require(try acquire())
        guard case .held(let holder) = try WorkspaceLock.attempt(folder, command: "run-once", host: "h") else {
            Issue.record("two hold the lock")
            return
        }
        #expect(holder?.pid == getpid() && holder?.command == "run")
        #expect(WorkspaceLock.holder(folder)?.pid == getpid())
        lock.release()
        #expect(WorkspaceLock.holder(folder) == nil)
        #expect(try await acquireOnceFree()?.abandoned == nil)
    }

    @Test("an agent with another state directory is kept out as well")
    func otherStateDirectory() throws {
        let lock = try #require(try acquire())
        let other = StateDirectory(path: temporary.path + "/other")
        try other.prepare(for: temporary.path)
        let attempt = { try WorkspaceLock.attempt(other.workspace(self.temporary.path), command: "run", host: "h") }
        guard case .held(let holder) = try attempt() else {
            Issue.record("two agents work on one workspace")
            return
        }
        #expect(holder?.pid == getpid())
        withExtendedLifetime(lock) {}
    }

    @Test("however many with other state directories ask, each is answered at once")
    func manyAsk() async throws {
        let lock = try #require(try acquire())
        let other = StateDirectory(path: temporary.path + "/other")
        try other.prepare(for: temporary.path)
        for round in 0..<10_000 {
            guard case .held = try WorkspaceLock.attempt(other.workspace(temporary.path), command: "run", host: "h")
            else {
                Issue.record("two agents work on one workspace, in round \(round)")
                return
            }
        }
        lock.update { $0.lastOutcome = "unchanged" }
        guard
            case .held(let holder) = try WorkspaceLock.attempt(
                other.workspace(temporary.path), command: "run", host: "h")
        else { return }
        #expect(holder?.pid == getpid(), "a check makes room for those that ask")
        lock.release()
        // As above.
        let isFree = try await eventually {
            guard case .acquired = try WorkspaceLock.attempt(other.workspace(temporary.path), command: "run", host: "h")
            else { return false }
            return true
        }
        #expect(isFree, "a lock that was given back is still held")
    }

    @Test("the lock ends with its holder, and the next one learns that it was not released")
    func abandoned() async throws {
        var lock = try acquire()
        lock?.update { $0.lastOutcome = "unchanged" }
        lock = nil
        #expect(try await acquireOnceFree()?.abandoned?.lastOutcome == "unchanged")
    }

    @Test("a record reads back as it was written")
    func record() throws {
        var record = LockRecord(pid: 7, command: "run", host: "h", since: Timestamp(milliseconds: 5))
        #expect(LockRecord(text: record.text) == record)
        record.lastCheck = Timestamp(milliseconds: 6)
        record.lastOutcome = "unreachable"
        record.lastError = "a = b; c"
        record.nextCheck = Timestamp(milliseconds: 7)
        #expect(LockRecord(text: record.text) == record)
        #expect(LockRecord(text: "\n\n") == nil)
    }

    @Test("the longest folder name is no obstacle")
    func longName() throws {
        try StateDirectory(path: temporary.path + "/s").prepare(for: "/" + String(repeating: "a", count: 255))
    }

    @Test("a ring ends the wait and is not lost when nobody waits; a closed bell waits no more")
    func bell() async {
        let bell = TriggerBell()
        bell.ring(.signal)
        #expect(await bell.wait(atMost: .seconds(60), clock: ContinuousClock()) == .signal)
        #expect(await bell.wait(atMost: .milliseconds(1), clock: ContinuousClock()) == nil)
        async let waited = bell.wait(atMost: .seconds(60), clock: ContinuousClock())
        bell.ring(.webhook)
        #expect(await waited == .webhook)
        bell.close()
        #expect(await bell.wait(atMost: .seconds(60), clock: ContinuousClock()) == nil)
    }

    @Test("checks are spread by a tenth, follow a deployment at once, and come early for a retry")
    func waits() {
        for _ in 0..<100 {
            let wait = CheckLoop.wait(after: .unreachable(""), interval: .seconds(30))
            #expect(wait >= .seconds(27) && wait <= .seconds(33))
        }
        let soon = CheckOutcome.unchanged(commit: "a", .backoff(until: Timestamp.now.advanced(by: .seconds(5))))
        #expect(CheckLoop.wait(after: soon, interval: .seconds(30)) <= .seconds(5))
    }

    @Test("what the holder says of its checks is read by others, also when it gets shorter")
    func update() throws {
        let lock = try #require(try acquire())
        lock.update {
            $0.lastError = String(repeating: "long ", count: 300)
            $0.lastOutcome = "failed"
        }
        lock.update {
            $0.lastError = nil
            $0.lastOutcome = "unchanged"
            $0.nextCheck = Timestamp(milliseconds: 99)
        }
        let holder = try #require(WorkspaceLock.holder(folder))
        #expect(holder.lastOutcome == "unchanged" && holder.lastError == nil)
        #expect(holder.nextCheck == Timestamp(milliseconds: 99))
        lock.release()
    }

    @Test(
        "an error of any length and of several lines keeps the record readable", arguments: ["x", "€", "😀", "\npid=1"])
    func longError(unit: String) throws {
        let lock = try #require(try acquire())
        lock.update {
            $0.lastError = String(repeating: unit, count: 10_000)
            $0.nextCheck = Timestamp(milliseconds: 99)
        }
        let holder = try #require(WorkspaceLock.holder(folder))
        #expect(holder.pid == getpid() && holder.nextCheck == Timestamp(milliseconds: 99))
        #expect(holder.lastError?.isEmpty == false)
        lock.release()
    }

    @Test("the holder is named with process, host and time")
    func holder() {
        let since = Timestamp(milliseconds: 1_767_225_600_123)
        let record = LockRecord(pid: 4711, command: "run", host: "host-1", since: since)
        #expect(record.holder == "process 4711 (agent run) on host-1 since 2026-01-01T00:00:00.123Z")
    }

    @Test("what is no record reads as none", arguments: ["", "garbage", "since=1\n", "pid=x\nsince=1\n"])
    func noRecord(text: String) {
        #expect(LockRecord(text: text) == nil)
    }

    @Test("a process that the holder starts does not keep the lock")
    func notInherited() async throws {
        let lock = try #require(try acquire())
        let stop = StopSignal()
        let command = Command(
            executable: "/bin/sh", arguments: ["-c", "touch up; exec sleep 1000"], folder: temporary.path,
            environment: [Array("PATH=/usr/bin:/bin".utf8)], marker: uniqueText(), timeout: .seconds(50),
            killGrace: .seconds(1), claimsOrphans: false)
        async let verdict = runCommand(command, output: CollectedOutput(limit: 100), stop: stop)
        #expect(await eventually { temporary.exists("up") })
        lock.release()
        #expect(try await acquireOnceFree() != nil)
        stop.request()
        #expect(try await verdict.cause == .stopped)
    }

    @Test("workspaces whose folders are called the same have locks of their own")
    func apart() throws {
        let state = StateDirectory(path: temporary.path + "/state")
        let (one, other) = (temporary.path + "/one/app", temporary.path + "/other/app")
        var locks: [WorkspaceLock] = []
        for path in [one, other] {
            try state.prepare(for: path)
            if case .acquired(let lock) = try WorkspaceLock.attempt(state.workspace(path), command: "run", host: "h") {
                locks.append(lock)
            }
        }
        #expect(locks.count == 2)
        for lock in locks { lock.release() }
    }

    @Test("only the agent's user may read what it keeps")
    func modes() throws {
        let lock = try #require(try acquire())
        func mode(_ path: String) throws -> Int? {
            try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        }
        #expect(try mode(folder.lock) == 0o600)
        #expect(try mode(folder.path) == 0o700 && mode(temporary.path + "/state") == 0o700)
        lock.release()
    }

    @Test(
        "a folder that somebody else made beforehand is refused, what is the agent's own is closed to others",
        .enabled(if: geteuid() == 0), arguments: ["logs", "workspaces"])
    func foreignFolder(name: String) throws {
        let path = temporary.path + "/open"
        for folder in [path, "\(path)/\(name)"] {
            mkdir(folder, 0o777)
            chmod(folder, 0o777)
        }
        chown("\(path)/\(name)", 65534, 65534)
        let error = #expect(throws: StateDirectoryError.self) {
            try StateDirectory(path: path).prepare(for: "/srv/app")
        }
        #expect(error?.description.hasPrefix("\(path)/\(name) belongs to another user") == true)
        chown("\(path)/\(name)", 0, 0)
        try StateDirectory(path: path).prepare(for: "/srv/app")
        var info = stat()
        for folder in [path, "\(path)/\(name)"] {
            #expect(stat(folder, &info) == 0 && info.st_mode & 0o022 == 0)
        }
    }

    @Test("the lock file is not opened through a link of somebody else's")
    func linkedLock() throws {
        try temporary.write("theirs", "kept")
        symlink(temporary.path + "/theirs", folder.lock)
        #expect(throws: SettingsError.self) { try WorkspaceLock.attempt(folder, command: "run", host: "h") }
        #expect(temporary.read("theirs") == "kept")
    }

    @Test("a state directory that cannot be made is an error that names it")
    func noFolder() throws {
        try temporary.write("file", "")
        let error = #expect(throws: SettingsError.self) {
            try StateDirectory(path: temporary.path + "/file/state").require(for: "/srv/app")
        }
        #expect(error?.description.contains("AGENT_STATE_DIR") == true)
        #expect(error?.description.contains("/file/state") == true)
    }
}
