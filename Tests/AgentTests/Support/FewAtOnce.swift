import Synchronization
import Testing

/// A number of places that are taken and given back; whoever finds none waits in line.
final class Places: Sendable {
    private struct State {
        var free: Int
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state: Mutex<State>

    init(_ count: Int) { state = Mutex(State(free: count)) }

    func take() async {
        await withCheckedContinuation { continuation in
            let isFree = state.withLock { state in
                if state.free > 0 {
                    state.free -= 1
                    return true
                }
                state.waiting.append(continuation)
                return false
            }
            if isFree { continuation.resume() }
        }
    }

    func giveBack() {
        let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
            if state.waiting.isEmpty {
                state.free += 1
                return nil
            }
            return state.waiting.removeFirst()
        }
        next?.resume()
    }
}

/// Lets only a few tests of the built binary run at once: each starts dozens of processes, and all together would wait
/// for each other longer than what they measure. Time spent in line does not count against a test's limit.
struct FewAtOnce: SuiteTrait, TestTrait, TestScoping {
    /// Tests; and boxes, since one test may have many cases.
    static let tests = Places(4)
    static let boxes = Places(6)

    var isRecursive: Bool { true }

    func scopeProvider(for test: Test, testCase: Test.Case?) -> FewAtOnce? {
        // Around the test with all of its cases, where no clock runs.
        test.isSuite || testCase != nil ? nil : self
    }

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        await Self.tests.take()
        defer { Self.tests.giveBack() }
        try await function()
    }
}

extension Trait where Self == FewAtOnce {
    static var fewAtOnce: FewAtOnce { FewAtOnce() }
}
