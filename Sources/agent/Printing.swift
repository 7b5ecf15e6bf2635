import DeployAgent
import Foundation
import Ledger

/// Prints one JSON document on standard output.
func printJSON(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    printLine(String(decoding: try encoder.encode(value), as: UTF8.self))
}

func printLine(_ text: String) {
    write(Array((text + "\n").utf8))
}

/// Writes to standard output. A reader that has gone (`| head`) or a closed descriptor is no error; a full disk is.
func write(_ bytes: [UInt8]) {
    var offset = 0
    while offset < bytes.count {
        let count = bytes[offset...].withUnsafeBytes { Foundation.write(1, $0.baseAddress, $0.count) }
        if count < 0 {
            if errno == EINTR { continue }
            if errno == EPIPE || errno == EBADF { return }
            let reason = String(cString: strerror(errno))
            _ = "agent: cannot write to standard output: \(reason)\n".withCString {
                Foundation.write(2, $0, strlen($0))
            }
            end(74)
        }
        offset += count
    }
}

/// Lines up columns: each is as wide as its widest cell, the last one runs free.
func table(_ rows: [[String]]) -> String {
    let columns = rows.map(\.count).max() ?? 0
    let widths = (0..<columns).map { column in rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0 }
    return rows.map { row in
        row.enumerated().map { index, cell in
            index == row.count - 1 ? cell : cell + String(repeating: " ", count: widths[index] - cell.count)
        }.joined(separator: "  ")
    }.joined(separator: "\n")
}

func took(_ from: Timestamp, _ to: Timestamp?) -> String {
    guard let to else { return "-" }
    let milliseconds = max(0, to.millisecondsSince(from))
    switch milliseconds {
    case ..<1000: return "\(milliseconds)ms"
    case ..<60_000: return String(format: "%.1fs", Double(milliseconds) / 1000)
    default: return "\(milliseconds / 60_000)m\(milliseconds % 60_000 / 1000)s"
    }
}

/// `5s ago`, `in 12s`.
func relative(_ time: Timestamp, to now: Timestamp = .now) -> String {
    let milliseconds = now.millisecondsSince(time)
    let seconds = abs(milliseconds) / 1000
    let text =
        seconds < 120
        ? "\(seconds)s"
        : seconds < 7200 ? "\(seconds / 60)m" : seconds < 172_800 ? "\(seconds / 3600)h" : "\(seconds / 86_400)d"
    return milliseconds >= 0 ? "\(text) ago" : "in \(text)"
}

/// Over how many hosts a run counts and whose it was: `fleet, fence 7`; nil for a host's own.
func reach(_ run: Run) -> String? {
    if run.isAdopted { return "adopted from \(run.adopted.map { "run \($0)" } ?? "a run that is not on record")" }
    guard run.scope == .fleet else { return nil }
    return "fleet" + (run.fence.map { ", fence \($0)" } ?? "")
}
