import Shell
import TestSupport
import Testing

@testable import Execution

/// How commands beside a deployment and publishing meet.
@Suite(.timeLimit(.minutes(1)))
struct WorkspaceGateTests {
    private let temporary: TemporaryFolder
    private let gate: WorkspaceGate
    private let stop = StopSignal()

    init() throws {
        temporary = try TemporaryFolder()
        let state = StateDirectory(path: temporary.path + "/state")
        try state.prepare(for: temporary.path)
        gate = WorkspaceGate(state.workspace(temporary.path))
    }

    @Test("commands run beside each other; publishing waits until the last one has ended, and is alone then")
    func waits() async throws {
        var locks = [try await gate.enter(stop: stop), try await gate.enter(stop: stop)]
        let (waited, waits) = AsyncStream.makeStream(of: Void.self)
        let (moved, moves) = AsyncStream.makeStream(of: Bool.self)
        let (gate, stop) = (gate, stop)
        // Within the tasks, which keep what they return.
        let publishing = Task {
            let turn = try await gate.publish(atMost: .seconds(1000), stop: stop) { waits.finish() }
            moves.yield(turn.isAlone)
            // Nor does a command begin while files move.
            let late = StopSignal()
            late.request()
            #expect(try await gate.enter(stop: late) == nil)
            moves.finish()
        }
        for await _ in waited {}
        locks.removeLast()
        // None begins while it waits.
        let entering = Task { try await gate.enter(stop: stop) != nil }
        #expect(locks.count == 1 && locks[0] != nil)
        locks = []
        var isAlone: Bool?
        for await alone in moved { isAlone = alone }
        #expect(isAlone == true)
        try await publishing.value
        #expect(try await entering.value)
    }

    @Test("after its time files move all the same, and no command begins while they do", arguments: [0, 120])
    func limit(milliseconds: Int) async throws {
        let lock = try await gate.enter(stop: stop)
        var turn: WorkspaceGate.Turn? = try await gate.publish(
            atMost: .milliseconds(milliseconds), stop: stop, waiting: {})
        #expect(turn?.isAlone == false && lock != nil)
        let (gate, stop) = (gate, stop)
        let entering = Task { try await gate.enter(stop: stop) != nil }
        #expect(try await !gate.publish(atMost: .zero, stop: stop, waiting: {}).isAlone)
        turn = nil
        #expect(try await entering.value)
    }

    @Test("who is asked to stop waits no longer")
    func stopped() async throws {
        let turn = try await gate.publish(atMost: .zero, stop: stop, waiting: {})
        #expect(turn.isAlone)
        let (gate, stop) = (gate, stop)
        let entering = Task { try await gate.enter(stop: stop) == nil }
        stop.request()
        #expect(try await entering.value)
        #expect(try await !gate.publish(atMost: .seconds(1000), stop: stop, waiting: {}).isAlone)
        withExtendedLifetime(turn) {}
    }

    @Test("where there can be no lock, the reason is told")
    func noLock() async throws {
        try temporary.write("state/workspaces/x", "")
        let broken = WorkspaceGate(StateDirectory(path: temporary.path + "/none").workspace("/srv/app"))
        await #expect(throws: HostTrouble.self) { try await broken.enter(stop: stop) }
    }
}
