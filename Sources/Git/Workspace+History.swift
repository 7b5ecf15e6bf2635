import Glibc

/// How much of the history the workspace has.
extension Workspace {
    /// Joins a commit that came without its history to the one that is here, where that has its parents.
    func joinHistory(_ common: String, _ git: GitProgram, _ operation: String) async throws {
        let file = common + "/shallow"
        guard let bytes = SmallFile.read(file) else { return }
        let text = String(decoding: bytes, as: UTF8.self)
        var cut: [Substring] = []
        for commit in text.split(separator: "\n") {
            // As the commit has them, wherever the history is cut.
            let content = try await git.expect(
                ["cat-file", "commit", String(commit)], in: path, operation: operation, code: .publish)
            let parents = String(decoding: content.output, as: UTF8.self).split(separator: "\n")
                .prefix { $0.hasPrefix("tree ") || $0.hasPrefix("parent ") }.filter { $0.hasPrefix("parent ") }
            var isJoined = true
            for parent in parents where isJoined {
                let found = try await git.run(
                    ["cat-file", "-e", String(parent.dropFirst("parent ".count))], in: path, operation: operation)
                isJoined = found.exitCode == 0
            }
            if !isJoined { cut.append(commit) }
        }
        guard cut.count < text.split(separator: "\n").count else { return }
        guard !cut.isEmpty else {
            unlink(file)
            return
        }
        let fresh = file + ".agent-new"
        try SmallFile.write(Array(cut.map { "\($0)\n" }.joined().utf8), to: fresh)
        guard rename(fresh, file) == 0 else { throw fileFailure("write \(file)") }
    }
}
