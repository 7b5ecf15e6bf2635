import Foundation
import Ledger
import TestSupport
import Testing

@testable import DeployAgent

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

    @Test("a second attempt is told who holds the lock; a release hands it on")
    func exclusive() throws {
        let lock = try #require(try acquire())
        guard case .held(let holder) = try WorkspaceLock.attempt(folder, command: "run-once", host: "h") else {
            Issue.record("two hold the lock")
            return
        }
        #expect(holder?.pid == getpid() && holder?.command == "run")
        #expect(WorkspaceLock.holder(folder)?.pid == getpid())
        lock.release()
        #expect(WorkspaceLock.holder(folder) == nil)
        #expect(try acquire()?.abandoned == nil)
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

    @Test("the lock ends with its holder, and the next one learns that it was not released")
    func abandoned() throws {
        var lock = try acquire()
        lock?.update { $0.lastOutcome = "unchanged" }
        lock = nil
        #expect(try acquire()?.abandoned?.lastOutcome == "unchanged")
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
}
