import Foundation
import Glibc
import Testing

@testable import DeployAgent
@testable import Settings

/// What becomes of signals, held against the table that users read.
@Suite struct SignalUseTests {
    /// A row of the table in docs/states.md: what its first column says, and the word of each receiver.
    private struct Row {
        var sent: String
        var words: [String]

        func names(_ number: Int32) -> Bool {
            sent.split { $0 == " " || $0 == "," }.contains { $0 == SignalNames.name(number) }
        }
    }

    private func table() throws -> [Row] {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(contentsOf: root.appending(path: "docs/states.md"), encoding: .utf8)
        let rest = text.components(separatedBy: "\n## Signals\n").dropFirst().first ?? ""
        let section = rest.components(separatedBy: "\n## ").first ?? ""
        let rows = section.components(separatedBy: "\n").filter { $0.hasPrefix("| ") }.map { line in
            line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
        }
        return rows.dropFirst().map { Row(sent: $0[0], words: Array($0.dropFirst())) }
    }

    private func word(_ use: SignalUse) -> String {
        switch use {
        case .kernel: "kernel"
        case .ends: "ends"
        case .checks: "checks"
        case .app: "app"
        case .appAndEnds: "app, ends"
        case .stops: "stops"
        case .none: "–"
        }
    }

    private func words(_ number: Int32, isFromKernel: Bool = false, hasTerminal: Bool = false) -> [String] {
        SignalUse.Receiver.allCases.map { receiver in
            word(SignalUse(of: number, to: receiver, isFromKernel: isFromKernel, hasTerminal: hasTerminal))
        }
    }

    @Test("docs/states.md says of each of the 64 signals what becomes of it", arguments: Int32(1)...64)
    func table(number: Int32) throws {
        let rows = try table().filter { !$0.sent.contains("terminal") }
        let row = try #require(rows.first { $0.names(number) } ?? rows.last)
        #expect(words(number) == row.words, "\(row.sent)")
        if rows.last?.sent == row.sent {
            #expect(
                words(number, isFromKernel: true) == row.words
                    || [SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH].contains(number))
        }
    }

    @Test("and of those that mean something at a terminal", arguments: [SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH])
    func terminal(number: Int32) throws {
        let rows = try table().filter { $0.sent.contains("terminal") && $0.names(number) }
        let fromTerminal = try #require(rows.first { $0.sent.contains("from its terminal") })
        let atTerminal = try #require(rows.first { $0.sent.contains("at a terminal") || $0.sent.contains("or at one") })
        #expect(words(number, isFromKernel: true, hasTerminal: true) == fromTerminal.words)
        #expect(words(number, hasTerminal: true) == atTerminal.words)
    }

    @Test("each signal has a name by which it can be asked for", arguments: Int32(1)...64)
    func names(number: Int32) {
        let name = SignalNames.name(number)
        // The C library's own two have none.
        guard number != 32, number != 33 else {
            #expect(name == "signal \(number)")
            return
        }
        #expect(name.hasPrefix("SIG") && SignalNames.number(name) == number)
        #expect(SignalNames.number(name.dropFirst(3).lowercased()) == number)
    }

    @Test(
        "real-time signals are counted from either end",
        arguments: [("RTMIN", 34), ("rtmin+3", 37), ("SIGRTMAX", 64), ("RTMAX-1", 63)] as [(String, Int32)])
    func realTime(name: String, number: Int32) { #expect(SignalNames.number(name) == number) }

    @Test(
        "what is no signal is none", arguments: ["NONE", "", "SIG", "RTMIN+31", "RTMAX+1", "RTMIN-1", "RTMINx", "64"])
    func unknown(name: String) { #expect(SignalNames.number(name) == nil) }
}
