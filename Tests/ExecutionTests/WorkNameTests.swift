import Ledger
import TestSupport
import Testing

@testable import Execution

/// A name on this machine for work that is done once.
struct WorkNameTests {
    private func request(_ task: String) -> ClaimRequest {
        ClaimRequest(
            scope: Scope(app: "shop", host: "h", workspace: "/w"), commit: "a", holder: "p",
            run: RunDraft(
                kind: .task, name: task, parent: nil, place: Scope(app: "shop", host: "h", workspace: "/w"),
                marker: "m", command: "true", folder: ".", mode: "lenient", timeout: .seconds(1), attempt: 1,
                startedAt: .now), retries: nil, isLenient: false,
            ignoresBackoff: false, isForced: false)
    }

    @Test("one at a time has it, whatever the file at the record's path; other work and other records have their own")
    func exclusive() {
        let file = "/tmp/" + uniqueText()
        var first: WorkName.Answer? = WorkName.take(request("t-v1"), file: file)
        guard case .mine(.some) = first else { return #expect(Bool(false), "it was not to be had") }
        if case .mine = WorkName.take(request("t-v1"), file: file) { #expect(Bool(false), "two have it") }
        if case .taken = WorkName.take(request("u-v1"), file: file) { #expect(Bool(false), "other work") }
        if case .taken = WorkName.take(request("t-v1"), file: file + "x") { #expect(Bool(false), "other record") }
        first = nil
        if case .taken = WorkName.take(request("t-v1"), file: file) { #expect(Bool(false), "it was given back") }
    }
}
