import Foundation

/// Ids of living processes whose environment or command line holds a text; zombies are none.
public func processes(holding text: String) -> [Int32] {
    let needle = Data(text.utf8)
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return names.compactMap { Int32($0) }.filter { pid in
        guard pid != getpid(), let stat = FileManager.default.contents(atPath: "/proc/\(pid)/stat"),
            let close = stat.lastIndex(of: UInt8(ascii: ")")), stat.count > close + 2,
            stat[close + 2] != UInt8(ascii: "Z")
        else { return false }
        return ["environ", "cmdline"].contains { file in
            FileManager.default.contents(atPath: "/proc/\(pid)/\(file)")?.range(of: needle) != nil
        }
    }
}

/// A text that occurs nowhere else.
public func uniqueText() -> String {
    "mk" + UUID().uuidString.lowercased().filter { $0 != "-" }
}
