import Glibc
import Ledger
public import Logging
public import Shell
import Synchronization

/// Where the agent's log goes: one line an event on standard error, as text or JSON, secrets replaced.
public final class LogOutput: Sendable {
    private struct State {
        var secrets: Secrets
        var isColoured: Bool
        /// Nobody reads the log: nothing is waited for until somebody does.
        var isStalled = false
        var droppedBytes = 0
    }

    /// How long a reader that does not read may hold the agent up.
    private static let patience: Int32 = 2000

    package let format: LogFormat
    package let level: Logger.Level
    private let descriptor: Int32
    /// Whether a write may block for as long as the other end likes: a pipe, a socket, a terminal.
    private let isPipe: Bool
    private let state: Mutex<State>

    /// - Parameter descriptor: standard error unless a test says otherwise. Colours only where it is a terminal and
    ///   `NO_COLOR` is not set (https://no-color.org).
    public init(
        format: LogFormat, level: LogLevel, secrets: Secrets, environment: ProcessEnvironment, descriptor: Int32 = 2
    ) {
        self.format = format
        self.level = Logger.Level(rawValue: level.rawValue) ?? .info
        self.descriptor = descriptor
        var info = stat()
        isPipe = fstat(descriptor, &info) == 0 && info.st_mode & S_IFMT != S_IFREG
        state = Mutex(
            State(
                secrets: secrets,
                isColoured: format == .text && isatty(descriptor) == 1 && environment["NO_COLOR"] == nil))
    }

    /// Adds secrets; those known before stay known.
    public func learn(_ secrets: Secrets) {
        state.withLock { $0.secrets.formUnion(secrets) }
    }

    public var secrets: Secrets { state.withLock { $0.secrets } }

    /// The text with every secret replaced.
    public func mask(_ text: String) -> String { secrets.mask(text) }

    /// Says one thing on standard error in JSON, where no session could be opened.
    public static func sayJSON(_ message: String, isWarning: Bool) {
        LogOutput(format: .json, level: .info, secrets: Secrets(), environment: ProcessEnvironment([:])).write(
            isWarning ? .warning : .error, message, [])
    }

    public func logger() -> Logger {
        Logger(label: "agent") { _ in LineLogHandler(output: self, logLevel: self.level) }
    }

    /// Writes one event.
    ///
    /// - Parameters:
    ///   - fields: what belongs to the event.
    ///   - context: what it happened in: the agent's own numbers and ids, which stay what they are whatever is secret. Only
    ///     JSON has it, people see it from the lines around.
    package func write(
        _ level: Logger.Level, _ message: String, _ fields: [(String, String)], context: [(String, String)] = []
    ) {
        state.withLock { state in
            // Before anything is escaped: an escaped secret would not be recognised.
            let message = state.secrets.mask(message)
            let masked = fields.map { ($0, state.secrets.mask($1)) }
            var line = line(
                level, message, format == .json ? context + masked : masked, coloured: state.isColoured)
            line.withUTF8 { writeAll(UnsafeRawBufferPointer($0), &state) }
        }
    }

    /// One event as it stands in the log, with its newline.
    private func line(
        _ level: Logger.Level, _ message: String, _ fields: [(String, String)] = [], coloured: Bool = false
    ) -> String {
        let time = Timestamp.now.rfc3339
        var line: String
        switch format {
        case .text:
            line = time + " " + Self.label(level, coloured: coloured) + " " + Self.singleLine(message)
            for (key, value) in fields { line += " \(key)=\(Self.singleLine(value))" }
        case .json:
            line = "{\"time\":\"\(time)\",\"level\":\"\(level.rawValue)\",\"message\":"
            JSONText.append(message, to: &line)
            for (key, value) in fields { JSONText.append(key: key, value, to: &line) }
            line += "}"
        }
        return line + "\n"
    }

    /// Writes whole lines that are already formatted and masked.
    package func writeFormatted(_ bytes: UnsafeRawBufferPointer) {
        state.withLock { writeAll(bytes, &$0) }
    }

    /// Writes in pieces that a pipe with room takes without blocking (PIPE_BUF): a reader that has stopped reading must
    /// keep neither a deadline nor the agent's end from coming. What it does not take in time is dropped and counted.
    private func writeAll(_ bytes: UnsafeRawBufferPointer, _ state: inout State) {
        var rest = bytes
        while !rest.isEmpty {
            var piece = rest
            if isPipe {
                var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                var ready: Int32
                repeat {
                    ready = poll(&entry, 1, state.isStalled ? 0 : Self.patience)
                } while ready < 0 && errno == EINTR
                guard ready > 0 else {
                    state.isStalled = true
                    state.droppedBytes += rest.count
                    return
                }
                if state.isStalled {
                    state.isStalled = false
                    let note =
                        "\n" + line(.warning, "\(state.droppedBytes) bytes of log were dropped: nobody read them")
                    state.droppedBytes = 0
                    _ = note.withCString { Glibc.write(descriptor, $0, strlen($0)) }
                    continue
                }
                piece = UnsafeRawBufferPointer(rebasing: rest.prefix(4096))
            }
            let count = Glibc.write(descriptor, piece.baseAddress, piece.count)
            if count < 0 {
                if errno == EINTR { continue }
                // Nobody reads the log any more, or its disk is full. There is no better place to say so.
                return
            }
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
        }
    }

    package static func label(_ level: Logger.Level, coloured: Bool) -> String {
        let text =
            switch level {
            case .trace: "TRACE"
            case .debug: "DEBUG"
            case .info: "INFO "
            case .notice: "NOTE "
            case .warning: "WARN "
            case .error: "ERROR"
            case .critical: "CRIT "
            }
        guard coloured else { return text }
        switch level {
        case .warning: return "\u{1B}[33m\(text)\u{1B}[0m"
        case .error, .critical: return "\u{1B}[31m\(text)\u{1B}[0m"
        default: return "\u{1B}[2m\(text)\u{1B}[0m"
        }
    }

    /// Newlines inside an event would look like further events, and other control characters would reach the terminal.
    private static func singleLine(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: \.isControl) else { return text }
        let line = text.split(whereSeparator: \.isNewline).joined(separator: "; ")
        return line.withoutControls
    }
}

/// Hands swift-log's events to a `LogOutput`.
package struct LineLogHandler: LogHandler {
    package let output: LogOutput
    package var logLevel: Logger.Level
    package var metadata: Logger.Metadata = [:]

    package init(output: LogOutput, logLevel: Logger.Level) {
        self.output = output
        self.logLevel = logLevel
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        output.write(
            event.level, "\(event.message)", Self.sorted(event.metadata ?? [:]), context: Self.sorted(metadata))
    }

    private static func sorted(_ metadata: Logger.Metadata) -> [(String, String)] {
        metadata.sorted { $0.key < $1.key }.map { ($0.key, "\($0.value)") }
    }
}
