import Testing

@testable import DeployAgent

/// How much of what runs have printed a view has.
struct OutputShareTests {
    private let tail = String(repeating: "€", count: 64 * 1024 / 3)

    @Test("as many runs as deployments mostly have are shown with all that the record has", arguments: [1, 16, 128])
    func whole(runs: Int) {
        #expect(OutputShare(of: OutputShare.limit, runs: runs).end(of: tail) == tail)
    }

    @Test("many more have the same share each, in whole characters, and no more than the limit together")
    func many() {
        let end = OutputShare(of: OutputShare.limit, runs: 3000).end(of: tail)
        #expect(end.utf8.count * 3000 <= OutputShare.limit && end.utf8.count > OutputShare.limit / 3000 - 3)
        #expect(tail.hasSuffix(end) && end.allSatisfy { $0 == "€" })
    }

    @Test("who is told of a deployment is sent a mebibyte of it at most, and few runs' output whole")
    func notification() {
        #expect(OutputShare(of: OutputShare.notificationLimit, runs: 16).end(of: tail) == tail)
        #expect(OutputShare(of: OutputShare.notificationLimit, runs: 17).end(of: tail).utf8.count * 17 <= 1024 * 1024)
    }

    @Test("of nothing nothing is shown")
    func nothing() {
        #expect(OutputShare(of: 10, runs: 0).end(of: "") == "" && OutputShare(of: 10, runs: 20).end(of: "abc") == "")
    }
}
