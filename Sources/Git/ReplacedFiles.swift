import Glibc

/// The files that a publishing replaces or removes, each kept under a second name until it has come through: one that fails in
/// the middle puts them back, without room on the disk for that.
final class ReplacedFiles {
    private enum Step {
        /// Was there, and has a second name.
        case replaced(OpenFolder, FileName, keptAs: FileName, followsLinks: Bool)
        /// Was not there.
        case made(OpenFolder, FileName, followsLinks: Bool)
        /// Was a folder; what it held has steps of its own.
        case folder(OpenFolder, FileName)
    }

    /// A folder that leads to something kept.
    private struct Parent: Hashable {
        let root: ObjectIdentifier
        let name: FileName
    }

    private let path: String
    private let folder: OpenFolder
    /// As they were: git removes a folder with the last file in it.
    private var parents: [Parent: stat] = [:]
    private var steps: [Step] = []
    /// What could not be given a second name: across file systems, and others' files where the kernel forbids it.
    private(set) var unkept: [(root: OpenFolder, name: FileName)] = []
    /// Whether something goes that nothing brings back.
    private var hasLost = false

    var isEmpty: Bool { steps.isEmpty }

    /// - Parameter gitFolder: of the workspace; what a killed agent left there goes.
    init(in gitFolder: String) throws {
        path = gitFolder + "/agent-replaced"
        try removeTree(path)
        guard mkdir(path, 0o700) == 0, let folder = OpenFolder(path: path) else { throw fileFailure("create \(path)") }
        self.folder = folder
    }

    /// Keeps what stands at a path, before anything is done there.
    ///
    /// - Parameter followsLinks: whether a symbolic link of the operator leads there, and is not replaced itself.
    func keep(_ name: FileName, in root: OpenFolder, followsLinks: Bool = false) {
        let standing = root.standing(at: name)
        // What is in the place of a folder that would lead there makes way, and all below it is made.
        if !followsLinks, let standing, standing.path != name {
            if !isKept(standing.path, in: root) { keep(standing.path, in: root) }
            return
        }
        switch followsLinks ? root.kind(name) : standing?.kind ?? .missing {
        case .missing:
            // The folders that lead there are made with it.
            var top = name
            while let parent = top.parent, root.kind(parent) == .missing { top = parent }
            steps.append(.made(root, top, followsLinks: followsLinks))
        case .folder: steps.append(.folder(root, name))
        default:
            noteParents(of: name, in: root)
            let kept = FileName("\(steps.count)")
            if linkat(root.descriptor, name.bytes, folder.descriptor, kept.bytes, 0) == 0 {
                steps.append(.replaced(root, name, keptAs: kept, followsLinks: followsLinks))
            } else {
                unkept.append((root, name))
            }
        }
    }

    private func noteParents(of name: FileName, in root: OpenFolder) {
        var above = name.parent
        while let name = above {
            let parent = Parent(root: ObjectIdentifier(root), name: name)
            guard parents[parent] == nil, let info = root.status(name), info.st_mode & S_IFMT == S_IFDIR else { return }
            parents[parent] = info
            above = name.parent
        }
    }

    private func isKept(_ name: FileName, in root: OpenFolder) -> Bool {
        steps.contains { step in
            guard case .replaced(let other, let kept, _, _) = step else { return false }
            return other === root && kept == name
        }
    }

    /// Notes that something goes as a whole whose content has no second name.
    func lose() { hasLost = true }

    /// Keeps the `.git` of a folder that is made a checkout; what it holds by then is not looked into.
    func keepGitFolder(of checkout: String) {
        if let root = OpenFolder(path: checkout) { keep(FileName(".git"), in: root) }
    }

    /// Puts everything back, the last step first.
    ///
    /// - Returns: whether all that has a second name is as it was, and nothing else is gone but what is in `unkept`.
    func restore() -> Bool {
        var isRestored = !hasLost
        for step in steps.reversed() {
            do {
                switch step {
                case .made(let root, let name, let followsLinks):
                    try Self.remove(name, in: root, followsLinks: followsLinks)
                case .folder(let root, let name):
                    if root.kind(name) != .folder { try Self.remove(name, in: root) }
                case .replaced(let root, let name, let kept, let followsLinks):
                    try makeWay(to: name, in: root, followsLinks: followsLinks)
                    guard renameat(folder.descriptor, kept.bytes, root.descriptor, name.bytes) == 0 else {
                        throw fileFailure("put \(name.text) back")
                    }
                }
            } catch {
                isRestored = false
            }
        }
        steps = []
        return isRestored
    }

    private static func remove(_ name: FileName, in root: OpenFolder, followsLinks: Bool = false) throws {
        // Where what leads there was put back already, nothing is left, and a link leads to other people's files.
        guard followsLinks || root.standing(at: name)?.path == name else { return }
        guard let parent = name.parent else { return try TreeRemoval.remove(name, in: root) }
        guard let folder = OpenFolder(parent, in: root, follows: followsLinks), folder.kind(name.name) != .missing
        else {
            return
        }
        try TreeRemoval.remove(name.name, in: folder)
    }

    private func makeWay(to name: FileName, in root: OpenFolder, followsLinks: Bool) throws {
        var parents: [FileName] = []
        var above = name.parent
        while let parent = above {
            parents.append(parent)
            above = parent.parent
        }
        for parent in parents.reversed() where root.kind(parent) != .folder {
            if root.leadsToFolder(parent, follows: followsLinks) { continue }
            try Self.remove(parent, in: root)
            guard mkdirat(root.descriptor, parent.bytes, 0o777) == 0 else { throw fileFailure("create \(parent.text)") }
            guard let before = self.parents[Parent(root: ObjectIdentifier(root), name: parent)] else { continue }
            // First the owner: a change of it takes bits of the mode away.
            fchownat(root.descriptor, parent.bytes, before.st_uid, before.st_gid, AT_SYMLINK_NOFOLLOW)
            fchmodat(root.descriptor, parent.bytes, before.st_mode & 0o7777, 0)
        }
        if root.kind(name) == .folder { try Self.remove(name, in: root) }
    }

    /// Lets go of what was kept.
    func discard() { try? removeTree(path) }
}
