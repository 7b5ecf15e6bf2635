import Foundation
import Glibc
import Synchronization

/// A thread of its own that reads through the link without pause until it is told to end.
public final class LinkReader: Sendable {
    private struct State {
        var looks = 0
        var seen: Set<String> = []
        var problems: Set<String> = []
        var isOver = false
        var hasEnded = false
    }

    private let state = Mutex(State())

    /// The texts seen so far: the first character of each.
    public var seen: Set<String> { state.withLock { $0.seen } }
    /// What a look found that was not one release, whole.
    public var problems: Set<String> { state.withLock { $0.problems } }

    /// - Parameter path: leads to a folder with `a`, `sub/b` and `c`, all of the same 5,000 characters.
    public init(_ path: String) {
        Thread.detachNewThread { [self] in
            while !state.withLock({ $0.isOver }) {
                let (text, problem) = Self.look(path)
                state.withLock {
                    $0.looks += 1
                    if let text { $0.seen.insert(text) }
                    if let problem { $0.problems.insert(problem) }
                }
            }
            state.withLock { $0.hasEnded = true }
        }
    }

    /// Waits until a look has begun and ended from now on.
    public func looksTwice() async -> Bool {
        let looks = state.withLock { $0.looks }
        return await eventually { state.withLock { $0.looks >= looks + 2 } }
    }

    public func ends() async -> Bool {
        state.withLock { $0.isOver = true }
        return await eventually { state.withLock { $0.hasEnded } }
    }

    private static func look(_ path: String) -> (text: String?, problem: String?) {
        // As a program does that has changed to the link's folder.
        let folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { return (nil, "no folder") }
        defer { close(folder) }
        let texts = ["a", "sub/b", "c"].map { read(folder, $0) }
        if Set(texts).count != 1 || texts[0].utf8.count != 5000 { return (nil, "a mixture") }
        // And by a path through it, which may lead to the next one by now.
        let text = read(AT_FDCWD, path + "/sub/b")
        let isWhole = text.utf8.count == 5000 && Set(text).count == 1
        return (String(texts[0].prefix(1)), isWhole ? nil : "no whole file")
    }

    private static func read(_ folder: Int32, _ name: String) -> String {
        let file = openat(folder, name, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return "missing" }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 8192)
        let count = Glibc.read(file, &bytes, bytes.count)
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }
}
