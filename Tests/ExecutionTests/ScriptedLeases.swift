import Ledger
import Shell
import Synchronization
import TestSupport

@testable import Execution

/// A lease's store whose answers the test gives.
final class ScriptedLeases: LeaseStore {
    struct Script: Sendable {
        /// What `renew` answers: in order, then the last one again.
        var renewals: [Result<Bool, LedgerError>] = [.success(true)]
        var claim: ClaimAnswer?
        /// Is called while `complete` writes.
        var completing: @Sendable () async -> Void = {}
    }

    private let script: Mutex<Script>
    private let seen = Mutex<(renewals: Int, completed: [ClaimResult])>((0, []))

    init(_ script: Script = Script()) { self.script = Mutex(script) }

    var renewals: Int { seen.withLock(\.renewals) }
    var completed: [ClaimResult] { seen.withLock(\.completed) }

    func claim(_ request: ClaimRequest) async throws -> ClaimAnswer {
        guard let answer = script.withLock(\.claim) else { throw Self.away }
        return answer
    }

    func renew(_ lease: Lease) async throws -> Bool {
        defer { seen.withLock { $0.renewals += 1 } }
        return try script.withLock { script in
            script.renewals.count > 1 ? script.renewals.removeFirst() : script.renewals[0]
        }.get()
    }

    func complete(_ result: ClaimResult) async throws -> Int? {
        await script.withLock(\.completing)()
        seen.withLock { $0.completed.append(result) }
        return result.result.status == .failed ? 1 : 0
    }

    func leaseChanges(app: String) -> any LeaseChanges { Nothing() }

    private struct Nothing: LeaseChanges { func next(after held: HeldBy) async {} }

    static let away = LedgerError(.unreachable, operation: "write", location: "x", explanation: "away")
}

/// A guard that notes what it hears.
final class NotingGuard: RunGuarding {
    private let state = Mutex<(deadlines: [BootTime], isReleased: Bool, isThere: Bool)>(([], false, true))

    var deadlines: [BootTime] { state.withLock(\.deadlines) }
    var isReleased: Bool { state.withLock(\.isReleased) }
    func leave() { state.withLock { $0.isThere = false } }

    func prolong(until deadline: BootTime) -> Bool {
        state.withLock { state in
            if state.isThere { state.deadlines.append(deadline) }
            return state.isThere
        }
    }

    func release() -> Bool {
        state.withLock { state in
            state.isReleased = true
            return state.isThere
        }
    }
}

extension ManualClock {
    var leaseTime: LeaseTime {
        LeaseTime(now: { self.bootTime }, sleep: { try await self.sleep(for: $0) })
    }

    var bootTime: BootTime { BootTime(nanoseconds: 0).advanced(by: now.offset) }
}
