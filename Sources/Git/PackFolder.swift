import Glibc

/// The packs of a repository (gitrepository-layout(5)): each a `.pack` with an `.idx` beside it, and files made of both.
struct PackFolder {
    let path: String

    /// - Parameter repository: the folder with its objects.
    init(repository: String) { path = repository + "/objects/pack" }

    struct Pack {
        /// Without its ending.
        let name: String
        let bytes: Int
        /// Whether another repository has it, too, as the same file.
        let isShared: Bool
    }

    /// Those that git finds: the ones with an index.
    func all() -> [Pack] {
        let names = Set((try? entries(of: path)) ?? [])
        return names.filter { $0.hasSuffix(".pack") }.sorted().compactMap { file in
            let name = String(file.dropLast(".pack".count))
            var info = stat()
            guard names.contains(name + ".idx"), lstat("\(path)/\(file)", &info) == 0 else { return nil }
            return Pack(name: name, bytes: Int(info.st_size), isShared: info.st_nlink > 1)
        }
    }

    func index(of pack: Pack) -> PackIndex? { PackIndex(path: "\(path)/\(pack.name).idx") }

    /// Removes a pack, its index first: what git finds is whole, wherever this is broken off.
    func remove(_ pack: Pack) throws {
        // What several packs are listed in may be made anew by whoever wants it.
        for name in try entries(of: path) where name.hasPrefix("multi-pack-index") { unlink("\(path)/\(name)") }
        let files = try entries(of: path).filter { $0.hasPrefix(pack.name + ".") }
        guard !files.contains(pack.name + ".keep") else { return }
        for file in files.sorted(by: { $0.hasSuffix(".idx") && !$1.hasSuffix(".idx") }) {
            guard unlink("\(path)/\(file)") == 0 || errno == ENOENT else { throw fileFailure("remove \(path)/\(file)") }
        }
    }

    /// Removes what a git left that was killed, or found no space, in the middle of a pack: nothing else ever does.
    ///
    /// - Parameter age: in seconds; what is younger may be a living git's.
    func removeLeftovers(olderThan age: Int = 0) {
        let names = Set((try? entries(of: path)) ?? [])
        let isWhole = { (name: String) in
            let stem = name.prefix { $0 != "." }
            return stem.isEmpty || names.contains("\(stem).pack") && names.contains("\(stem).idx")
        }
        for name in names {
            let isTemporary = name.hasPrefix("tmp_") || name.hasPrefix(".tmp-")
            guard isTemporary || name.hasPrefix("pack-") && !isWhole(name) else { continue }
            var info = stat()
            guard lstat("\(path)/\(name)", &info) == 0, FileTime.now.seconds - info.modified.seconds >= age else {
                continue
            }
            unlink("\(path)/\(name)")
        }
    }

    /// Gives another repository's packs to this one, as the same files.
    ///
    /// - Returns: whether all are here now; not where a file system, or who owns the files, does not allow it.
    func link(from other: PackFolder) -> Bool {
        mkdir(path, 0o777)
        for pack in other.all() {
            // The index last: git finds the pack by it.
            for ending in [".rev", ".pack", ".idx"] {
                let (from, to) = ("\(other.path)/\(pack.name)\(ending)", "\(path)/\(pack.name)\(ending)")
                guard share(from, as: to) || ending == ".rev" && errno == ENOENT else { return false }
            }
        }
        return true
    }

    /// Of one name are files of one content: a pack is called by the hash of what it holds.
    private func share(_ file: String, as name: String) -> Bool {
        var (there, here) = (stat(), stat())
        guard lstat(file, &there) == 0 else { return false }
        if lstat(name, &here) == 0, here.st_ino == there.st_ino, here.st_dev == there.st_dev { return true }
        let fresh = path + "/tmp_agent_link"
        unlink(fresh)
        return Glibc.link(file, fresh) == 0 && rename(fresh, name) == 0
    }
}
