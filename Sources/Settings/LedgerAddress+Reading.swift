import Postgres
import Shell

/// Why a text names no record, in words that hold nothing of the text.
public struct NoLedger: Error, CustomStringConvertible {
    public let description: String
}

extension LedgerAddress {
    /// Reads where the record is from the settings; what is wrong is noted, and the default returned.
    package static func read(
        _ reader: inout SettingsReader, stateDirectory: String, _ absolute: (String) -> String
    ) -> LedgerAddress {
        let fallback = LedgerAddress.sqlite(path: stateDirectory + "/ledger.sqlite")
        let schema =
            reader.read(.ledgerSchema) { text in
                (1...63).contains(text.utf8.count) && !text.utf8.contains(0) ? text : nil
            } ?? Setting.ledgerSchema.fallback
        let url = reader.text(.ledgerURL)
        let file = reader.text(.ledgerURLFile).map { Sourced(value: absolute($0.value), source: $0.source) }
        // As with other secrets the file wins, but not over the command line.
        var isOption = false
        if case .option = url?.source { isOption = true }
        guard let url, file == nil || isOption else {
            guard let file else { return fallback }
            // Nobody reads it, and so nobody knows which part of it is the password.
            reader.found[Setting.ledgerURL.name]?.value = Secrets.replacement
            guard let text = Settings.readTokenFile(file.value) else {
                reader.reject(.ledgerURLFile, file, because: "cannot be read or is empty")
                return fallback
            }
            do throws(NoLedger) {
                let address = try parse(text, schema: schema, absolute)
                if case .postgresql = address { return .postgresql(text: nil, file: file.value, schema: schema) }
                return address
            } catch {
                reader.reject(.ledgerURLFile, file, because: "holds no ledger's URL that could be read: \(error)")
                return fallback
            }
        }
        do throws(NoLedger) {
            return try parse(url.value, schema: schema, absolute)
        } catch {
            let shown = isPlain(url.value) ? url.value : Secrets.replacement
            reader.reject(
                .ledgerURL, Sourced(value: shown, source: url.source), because: "is not accepted: \(error)")
            return fallback
        }
    }

    /// Whether there is no place for a password in a text that names no record: else it may be anywhere.
    private static func isPlain(_ text: String) -> Bool {
        let text = text.trimmingSpace
        let scheme = text.prefix { $0.isLetter || $0 == "+" }
        let rest = text[scheme.endIndex...]
        guard !text.contains(where: { "@?=".contains($0) }), !text.hasPrefix("//"),
            rest.hasPrefix(":") || rest.hasPrefix("/")
        else { return false }
        return scheme.lowercased() == "sqlite" ? !rest.contains("//") : !rest.dropFirst().contains(":")
    }

    /// Whether a text may hold a password that `Secrets` does not see in it: one with raw special characters, in a query, or in
    /// pairs.
    public static func mayHidePassword(_ text: String) -> Bool {
        let rest = Secrets().mask(text).replacing("\(Secrets.replacement)@", with: "")
        return rest.contains("@") || rest.lowercased().contains("password")
    }

    /// Reads where a record is from a text as `AGENT_LEDGER_URL` has it.
    ///
    /// - Parameter currentFolder: what a relative path is relative to.
    public init(
        _ text: String, schema: String, currentFolder: String = Settings.currentFolder
    ) throws(NoLedger) {
        self = try Self.parse(text, schema: schema) { path in
            path.hasPrefix("/") ? path : currentFolder + "/" + path
        }
    }

    private static func parse(
        _ text: String, schema: String, _ absolute: (String) -> String
    ) throws(NoLedger) -> LedgerAddress {
        let text = text.trimmingSpace
        if text.lowercased().hasPrefix("sqlite:") {
            var path = String(text.dropFirst(7))
            if path.hasPrefix("//") { path = String(path.dropFirst(2)) }
            guard !path.isEmpty, !path.hasPrefix(":"), !path.contains("://") else {
                throw NoLedger(description: "no path of a file stands behind sqlite:")
            }
            return .sqlite(path: absolute(path))
        }
        // libpq takes the scheme in lower case only.
        let scheme = text.prefix { $0 != ":" }.lowercased()
        let isURL = scheme == "postgres" || scheme == "postgresql"
        let readable = isURL ? scheme + text.dropFirst(scheme.count) : text
        if !readable.hasPrefix("postgresql://"), !readable.hasPrefix("postgres://"),
            let problem = problem(ofOther: readable.lowercased())
        {
            throw NoLedger(description: problem)
        }
        do {
            _ = try ConnectionString(readable)
        } catch let error as PostgresError where error.code == .invalid {
            let isSchema = ["schema", "currentSchema", "search_path"].contains { error.message.contains("`\($0)`") }
            throw NoLedger(
                description: error.message + (isSchema ? "; the schema is set by \(Setting.ledgerSchema.name)" : ""))
        } catch {
            // Whether it can be read is not known here; whoever opens it says why.
        }
        return .postgresql(text: readable, file: nil, schema: schema)
    }

    /// What is wrong with a text that is no URL of PostgreSQL's; nil for what may be pairs.
    private static func problem(ofOther text: String) -> String? {
        let form = "write postgresql://USER@HOST/DATABASE, the password behind USER and a colon"
        if text.hasPrefix("jdbc:") { return "it is a URL of JDBC's; \(form)" }
        if text.hasPrefix("postgres") {
            let isDriver = text.drop(while: \.isLetter).first == "+"
            return isDriver
                ? "it names a driver behind postgresql; \(form)" : "it does not begin with postgresql://; \(form)"
        }
        return text.contains("=") && !text.contains("://") ? nil : "it begins with none of them"
    }
}
