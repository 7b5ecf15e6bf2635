import Ledger
import Testing

@testable import DeployAgent

/// Where a rollback leads.
struct WayBackTests {
    /// Deployments that succeeded, the oldest first; `<` before one that is a rollback.
    private func target(from current: String, _ history: String, held: String? = nil) -> String? {
        let deployments = history.split(separator: " ").enumerated().map { index, text in
            Deployment.sample(
                id: Int64(index + 1), commit: String(text.drop { $0 == "<" }),
                trigger: text.hasPrefix("<") ? .rollback : .poll, .succeeded)
        }
        return WayBack.target(from: current, deployments.reversed(), held: held)
    }

    @Test("the commit before the current one; one that failed past publishing lies on top of all")
    func before() {
        #expect(target(from: "c", "a b c") == "b")
        #expect(target(from: "d", "a b c") == "c")
        #expect(target(from: "a", "a") == nil && target(from: "a", "") == nil)
        #expect(target(from: "c", "a b c c c") == "b", "deployed anew, it is one")
    }

    @Test("one rollback after the other leads further back, never to what was rolled back from")
    func further() {
        #expect(target(from: "b", "a b c <b", held: "c") == "a")
        #expect(target(from: "a", "a b c <b <a", held: "c") == nil)
        #expect(target(from: "d", "a b c <b d") == "b")
        #expect(target(from: "x", "a b <x", held: "b") == "a", "to a commit that no check had deployed")
        #expect(target(from: "a", "a b <a a", held: "b") == nil, "what was gone back to, deployed anew by a start")
    }

    @Test("a ref that went back is a move like every other")
    func refWentBack() {
        #expect(target(from: "b", "a b c b") == "c")
        #expect(target(from: "b", "a b c") == "c", "it failed when it was deployed again")
        #expect(target(from: "c", "a b c b c") == "b")
    }
}
