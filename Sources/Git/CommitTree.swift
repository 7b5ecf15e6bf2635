/// What a commit holds, by path.
struct CommitTree {
    /// Files and symbolic links.
    private(set) var files: Set<FileName> = []
    /// Folders; those of submodules are among them.
    private(set) var folders: Set<FileName> = []

    /// Options of `git ls-tree` for the listing that `init` reads.
    static let listing = ["ls-tree", "-r", "-t", "-z", "--full-tree"]

    /// - Parameter output: `MODE TYPE ID<tab>PATH`, each ended by NUL (git-ls-tree(1)).
    init(_ output: [UInt8]) {
        for entry in output.entriesEndingInNUL {
            guard let tab = entry.firstIndex(of: UInt8(ascii: "\t")) else { continue }
            let path = FileName(entry[(tab + 1)...])
            // 040000 is a folder, 160000 a submodule; 100644, 100755 and 120000 are files and links.
            if entry.starts(with: "04".utf8) || entry.starts(with: "16".utf8) {
                folders.insert(path)
            } else {
                files.insert(path)
            }
        }
    }
}
