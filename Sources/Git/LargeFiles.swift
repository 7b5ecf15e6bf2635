import CLibgit2
import Glibc

/// Git LFS (https://git-lfs.com): a file in the commit that stands for a large one, which is kept elsewhere.
struct LFSPointer: Sendable, Equatable {
    let path: String
    /// Hash of the file's content, as its name in the storage.
    let hash: String

    /// The first line of every pointer (version 1 of its specification).
    private static let mark = Array("version https://git-lfs.github.com/spec/v1\n".utf8)
    /// Larger files are none.
    static let limit = 1024

    /// Nil for the content of a file that is none.
    init?(path: String, content: [UInt8]) {
        guard content.starts(with: Self.mark) else { return nil }
        self.path = path
        let lines = String(decoding: content, as: UTF8.self).split(separator: "\n")
        hash = lines.first { $0.hasPrefix("oid sha256:") }.map { String($0.dropFirst("oid sha256:".count)) } ?? ""
    }
}

extension Repository {
    /// Whether a commit's attributes say that some files are kept by Git LFS.
    func usesLFS(_ commit: String) async throws -> Bool {
        let name = Array(".gitattributes".utf8)
        for path in try await changedFiles(from: nil, to: commit).paths
        where path == name || path.suffix(name.count + 1) == [UInt8(ascii: "/")] + name {
            let file = try await file(String(decoding: path, as: UTF8.self), in: commit, limit: 1 << 20)
            if let file, String(decoding: file, as: UTF8.self).contains("filter=lfs") { return true }
        }
        return false
    }

    /// The pointers in a commit, by path.
    func lfsPointers(in commit: String) async throws -> [LFSPointer] {
        let paths = try await changedFiles(from: nil, to: commit).paths
        var found: [LFSPointer] = []
        for path in paths.map({ String(decoding: $0, as: UTF8.self) }) {
            // One that is larger, a link or a submodule is none.
            guard let content = try? await file(path, in: commit, limit: LFSPointer.limit) else { continue }
            if let pointer = LFSPointer(path: path, content: content) { found.append(pointer) }
        }
        return found
    }
}

extension CommitStore {
    /// Where this store's large files are.
    var largeFiles: String { path + "/lfs" }

    /// Removes large files that none of these commits has. What is checked out has them by itself.
    func tidyLargeFiles(of commits: Set<String>) async {
        guard isFolder(largeFiles) else { return }
        var needed: Set<String> = []
        for commit in commits {
            // One that cannot be read says nothing of what it needs.
            guard let pointers = try? await repository.lfsPointers(in: commit) else { return }
            needed.formUnion(pointers.map(\.hash))
        }
        let objects = largeFiles + "/objects"
        func names(_ folder: String) -> [String] { (try? entries(of: folder)) ?? [] }
        // By the first four digits of their hash, in two levels.
        for first in names(objects) {
            for second in names("\(objects)/\(first)") {
                for hash in names("\(objects)/\(first)/\(second)") where !needed.contains(hash) {
                    unlink("\(objects)/\(first)/\(second)/\(hash)")
                }
            }
        }
        for folder in ["tmp", "incomplete", "logs"] { try? removeTree("\(largeFiles)/\(folder)") }
    }

    /// Gets the large files of a commit, so that a checkout needs no network.
    func fetchLFS(_ commit: String, from remote: Remote, _ git: GitProgram) async throws {
        let operation = "fetch the large files of \(commit.prefix(12)) from \(remote.displayURL)"
        let result = try await git.configuring("remote.agent.url", remote.url).run(
            ["lfs", "fetch", "agent", commit], in: path, operation: operation, network: true)
        guard result.exitCode == 0 else { throw result.remoteError(remote, operation) }
    }
}

extension GitProgram {
    /// The same with the filters by which files become large ones and pointers again.
    var withLFS: GitProgram {
        configuring("filter.lfs.process", "git-lfs filter-process").configuring("filter.lfs.required", "true")
            .configuring("filter.lfs.clean", "git-lfs clean -- %f").configuring(
                "filter.lfs.smudge", "git-lfs smudge -- %f")
    }

    /// The same for a checkout that is not the store's: large files come from there.
    func withLargeFiles(of store: CommitStore) -> GitProgram {
        kind(of: store.largeFiles) == .folder ? configuring("lfs.storage", store.largeFiles) : self
    }

    /// The same where large files are left as pointers, whatever the machine has configured.
    var withoutLFS: GitProgram {
        ["process", "clean", "smudge"].reduce(configuring("filter.lfs.required", "false")) {
            $0.configuring("filter.lfs.\($1)", "")
        }
    }
}
