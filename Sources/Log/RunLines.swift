import Glibc
import Ledger
import Logging
import Shell
import Synchronization

/// Writes a run's output into the agent's log, line by line, as `[PRE_DEPLOY] …`, while it comes.
///
/// Lines longer than 8 KiB are split; control characters other than tab are shown as `\xNN`; what is no UTF-8 becomes
/// U+FFFD. What a carriage return lets be written over, as a progress bar does, is passed over but for one state a second
/// at most, shown when more output comes. Memory does not depend on what comes.
package final class RunLines: OutputSink {
    private struct State {
        /// The beginning of a line whose end has not come: of several states the last one.
        var carry: [UInt8] = []
        /// Whether a carriage return came after it: what comes next replaces it, but for the end of the line.
        var isReplaced = false
        /// Whether a carriage return came in this line.
        var isBar = false
        /// The state of this line that was shown last; none is shown twice.
        var shown: [UInt8]?
        /// When any line's state was shown last.
        var shownAt: ContinuousClock.Instant?
        /// Formatted lines of one `receive`, written at once.
        var batch: [UInt8] = []
    }

    package static let longestLine = 8 * 1024
    /// A batch that is longer is written before the next line comes: empty lines grow fortyfold by what stands before them.
    private static let longestBatch = 256 * 1024

    private let output: LogOutput
    private let name: String
    /// Of a JSON line, between its time and its message.
    private let fields: String
    private let isEnabled: Bool
    private let now: @Sendable () -> ContinuousClock.Instant
    private let state = Mutex(State())

    /// - Parameter context: what a JSON line says of the run.
    package init(
        output: LogOutput, name: String, context: [(String, String)] = [],
        now: @escaping @Sendable () -> ContinuousClock.Instant = { .now }
    ) {
        self.output = output
        self.name = name
        self.now = now
        var fields = ",\"level\":\"info\""
        for (key, value) in context {
            JSONText.append(key: key, value, to: &fields)
        }
        self.fields = fields
        isEnabled = output.level <= .info
    }

    package func receive(_ bytes: UnsafeRawBufferPointer) {
        guard isEnabled else { return }
        state.withLock { state in
            let prefix = linePrefix()
            var rest = bytes
            while let base = rest.baseAddress, !rest.isEmpty {
                guard let end = memchr(base, 10, rest.count) else {
                    keep(rest, prefix, &state)
                    break
                }
                let length = UnsafeRawPointer(end) - base
                let line = UnsafeRawBufferPointer(rebasing: rest[..<length])
                if state.carry.isEmpty, !state.isBar, length <= Self.longestLine {
                    appendLine(Self.lastState(line), prefix, &state)
                } else {
                    keep(line, prefix, &state)
                    endLine(prefix, &state)
                }
                rest = UnsafeRawBufferPointer(rebasing: rest[(length + 1)...])
            }
            if state.isBar { showState(prefix, &state) }
            writeBatch(&state)
        }
    }

    package func finish() {
        guard isEnabled else { return }
        state.withLock { state in
            if !state.carry.isEmpty { endLine(linePrefix(), &state) }
            writeBatch(&state)
        }
    }

    /// What a terminal would show of a line in the end, or of what there is of it: the text after the last carriage return
    /// that any follows.
    private static func lastState(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        guard let base = bytes.baseAddress, memchr(base, 13, bytes.count) != nil else { return bytes }
        guard let last = bytes.lastIndex(where: { $0 != 13 }) else {
            return UnsafeRawBufferPointer(rebasing: bytes[..<0])
        }
        let first = bytes[...last].lastIndex(of: 13).map { $0 + 1 } ?? 0
        return UnsafeRawBufferPointer(rebasing: bytes[first...last])
    }

    private func endLine(_ prefix: [UInt8], _ state: inout State) {
        if state.shown != state.carry || !state.isBar { flushCarry(prefix, &state) }
        state.carry.removeAll(keepingCapacity: true)
        (state.isReplaced, state.isBar, state.shown) = (false, false, nil)
    }

    /// Shows the last state of a line that goes on.
    private func showState(_ prefix: [UInt8], _ state: inout State) {
        guard state.carry.contains(where: { $0 != 32 }), state.shown != state.carry else { return }
        let now = now()
        if let before = state.shownAt, now - before < .seconds(1) { return }
        state.shownAt = now
        state.shown = state.carry
        state.carry.withUnsafeBytes { appendLine($0, prefix, &state) }
    }

    private func keep(_ bytes: UnsafeRawBufferPointer, _ prefix: [UInt8], _ state: inout State) {
        var rest = Self.lastState(bytes)
        if rest.count < bytes.count { state.isBar = true }
        // Of nothing but carriage returns nothing is left: they may belong to the end of the line.
        guard let text = rest.baseAddress, let begin = bytes.baseAddress, !rest.isEmpty else {
            state.isReplaced = state.isReplaced || !bytes.isEmpty
            return
        }
        if state.isReplaced || text != begin { state.carry.removeAll(keepingCapacity: true) }
        state.isReplaced = text + rest.count < begin + bytes.count
        while state.carry.count + rest.count > Self.longestLine {
            let taken = Self.longestLine - state.carry.count
            state.carry.append(contentsOf: rest.prefix(taken))
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(taken))
            // A UTF-8 character that the next byte goes on with begins the next piece.
            let begun = rest[0] & 0xC0 == 0x80 ? Self.unfinishedCharacter(state.carry) : 0
            let next = Array(state.carry.suffix(begun))
            state.carry.removeLast(begun)
            flushCarry(prefix, &state)
            state.carry = next
        }
        state.carry.append(contentsOf: rest)
    }

    /// How many bytes at the end are the beginning of a UTF-8 character.
    private static func unfinishedCharacter(_ bytes: [UInt8]) -> Int {
        let tail = bytes.suffix(3)
        guard let lead = tail.lastIndex(where: { $0 & 0xC0 != 0x80 }), tail[lead] >= 0xC0 else { return 0 }
        return bytes.count - lead
    }

    private func flushCarry(_ prefix: [UInt8], _ state: inout State) {
        let line = state.carry
        state.carry.removeAll(keepingCapacity: true)
        line.withUnsafeBytes { appendLine($0, prefix, &state) }
    }

    private func writeBatch(_ state: inout State) {
        guard !state.batch.isEmpty else { return }
        state.batch.withUnsafeBytes(output.writeFormatted)
        state.batch.removeAll(keepingCapacity: true)
    }

    /// What stands before each line; the time is that of the read.
    private func linePrefix() -> [UInt8] {
        let time = Timestamp.now.rfc3339
        switch output.format {
        case .text: return Array("\(time) INFO  [\(name)] ".utf8)
        case .json: return Array("{\"time\":\"\(time)\"\(fields),\"message\":\"".utf8)
        }
    }

    private func appendLine(_ line: UnsafeRawBufferPointer, _ prefix: [UInt8], _ state: inout State) {
        state.batch.append(contentsOf: prefix)
        if Self.isPlain(line, json: output.format == .json) {
            state.batch.append(contentsOf: line)
        } else {
            // Repaired by way of a string: rare, and correct for every input.
            escape(String(decoding: line, as: UTF8.self), &state.batch)
        }
        if output.format == .json { state.batch.append(contentsOf: [UInt8(ascii: "\""), UInt8(ascii: "}")]) }
        state.batch.append(10)
        if state.batch.count > Self.longestBatch { writeBatch(&state) }
    }

    /// Whether a line can be copied as it is.
    private static func isPlain(_ line: UnsafeRawBufferPointer, json: Bool) -> Bool {
        var unusual = false
        for byte in line {
            // Without a branch, so that the compiler can look at many bytes at once.
            unusual = unusual || byte < 32 || byte > 126
        }
        if unusual { return !json && line.allSatisfy { ($0 >= 32 && $0 <= 126) || $0 == 9 } }
        return !json || !line.contains { $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") }
    }

    private func escape(_ text: String, _ batch: inout [UInt8]) {
        if output.format == .json {
            var quoted = ""
            JSONText.append(text, to: &quoted)
            batch.append(contentsOf: quoted.utf8.dropFirst().dropLast())
            return
        }
        for scalar in text.unicodeScalars {
            if scalar.isControl, scalar != "\t" {
                let hex = String(scalar.value, radix: 16)
                batch.append(contentsOf: ("\\x" + (hex.count < 2 ? "0" : "") + hex).utf8)
            } else {
                batch.append(contentsOf: scalar.utf8)
            }
        }
    }
}
