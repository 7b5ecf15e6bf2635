import Git
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(1)))
struct DaemonTests {
    @Test("git's own protocol: a commit comes, a repository or a branch that is not there is named")
    func daemon() async throws {
        let served = try await Served()
        let server = try await GitDaemon(serving: served.root)
        defer { withExtendedLifetime(server) {} }
        let commit = try await served.commit()
        #expect(try await served.fetch(server.url(served.name), served.program()) == commit)
        let missing = await served.failure(server.url("none.git"), served.program())
        #expect(missing?.code == .missingRepository, "\(missing as Any)")
        let branch = await #expect(throws: GitError.self) {
            try await served.fetch(server.url(served.name), served.program(), ref: "none")
        }
        #expect(branch?.code == .missingRef && branch?.code.isPermanent == true)
    }

    @Test("a checkout of somebody's own that is whole stays so, while no commit is passed over")
    func whole() async throws {
        let served = try await Served()
        for _ in 0..<3 { try await served.commit() }
        let workspace = Workspace(path: served.folder.path + "/ws")
        try await git("clone -q served/up.git ws", in: served.folder.path)
        for expected in ["5", "6"] {
            try await served.commit()
            let commit = try await served.fetch("file://\(served.root)/\(served.name)", served.program())
            _ = try await workspace.publish(
                commit, from: served.store, stagedOutput: false, origin: "x", served.program())
            #expect(try await git("rev-list --count HEAD", in: workspace.path) == expected)
        }
        // The one between is nowhere: the history ends there.
        try await served.commit()
        try await served.commit()
        let commit = try await served.fetch("file://\(served.root)/\(served.name)", served.program())
        _ = try await workspace.publish(commit, from: served.store, stagedOutput: false, origin: "x", served.program())
        #expect(try await git("rev-list --count HEAD", in: workspace.path) == "1")
        #expect(try await git("rev-list --count origin/main", in: workspace.path) == "4")
    }

    @Test("the history is as long as it was asked for, and may be made longer and shorter again")
    func depth() async throws {
        let served = try await Served()
        for _ in 0..<5 { try await served.commit() }
        let server = try await GitDaemon(serving: served.root)
        defer { withExtendedLifetime(server) {} }
        let (program, remote) = (served.program(), Remote(url: server.url(served.name), ref: "main"))
        let workspace = Workspace(path: served.folder.path + "/ws")
        for (depth, expected) in [(1, "1"), (3, "3"), (0, "6"), (0, "7"), (1, "7")] {
            if expected == "7", depth == 0 { try await served.commit() }
            try await served.store.prepare(program)
            let tip = try await program.tip(of: remote, from: served.store.path)
            try await served.store.fetch(tip, from: remote, depth: depth, program)
            #expect(served.store.depth == depth)
            _ = try await workspace.publish(
                tip.commit, from: served.store, stagedOutput: false, origin: remote.url, program)
            #expect(try await git("rev-list --count HEAD", in: workspace.path) == expected, "depth \(depth)")
        }
    }
}
