import CLibpq
import Glibc

/// Where a server is and who asks, as libpq takes it: a `postgresql://` URL or `key=value` pairs
/// (https://www.postgresql.org/docs/current/libpq-connect.html). Holds the password, so it has no description.
public struct ConnectionString: Sendable, Equatable {
    /// By libpq's keywords, what the text sets and what this client adds.
    private(set) var options: [String: String]
    /// Passwords as they stand in the text, encoded or with what escapes them.
    private let encodedPasswords: [String]

    /// What is added where the text leaves it open: a server that does not answer is given up, and one that vanished is
    /// noticed, in seconds instead of hours.
    private static let added = [
        "connect_timeout": "10", "tcp_user_timeout": "5000", "keepalives_idle": "10", "keepalives_interval": "5",
        "keepalives_count": "3", "application_name": "deploy-agent", "client_encoding": "UTF8",
    ]

    /// - Throws: `PostgresError` `invalid` when libpq cannot read the text, or would take a part of a password for something
    ///   else; its words hold nothing of the text's values. `unreachable` when there is no libpq.
    public init(_ text: String) throws {
        // Everything else needs one of these first.
        guard agent_load_libpq() == 0 else {
            throw PostgresError(.unreachable, message: "libpq cannot be loaded (Debian: apt-get install libpq5)")
        }
        encodedPasswords = try ConnectionText(text, keywords: Self.keywords).passwords
        guard let parsed = Self.parse(text) else {
            throw PostgresError(
                .invalid, message: "it is neither a postgresql:// URL nor keyword=value pairs that libpq can read")
        }
        options = Self.added.merging(parsed.compactMapValues { $0 }) { $1 }
        let ports = (options["port"] ?? "").split(separator: ",")
        guard ports.allSatisfy({ Self.isPort(String($0)) }) else {
            throw PostgresError(.invalid, message: "its port is no number from 1 to 65535")
        }
        guard options["dbname"]?.contains("://") != true else {
            throw PostgresError(.invalid, message: "its database is a URL; give that URL alone")
        }
        options = inTurn().options
    }

    /// The same, where it has several hosts or addresses, with less time for each: the next one must have its turn while there
    /// is time. A lease is to be renewed within seconds.
    func inTurn() -> ConnectionString {
        let isOne = !(options["hostaddr"] ?? options["host"] ?? "").contains(",")
        guard !isOne, options["tcp_user_timeout"] == Self.added["tcp_user_timeout"] else { return self }
        return with("tcp_user_timeout", "1500")
    }

    /// What libpq makes of a text, by all of its keywords; nil when it cannot read it. Its own words may quote a password.
    private static func parse(_ text: String) -> [String: String?]? {
        guard let parsed = PQconninfoParse(text, nil) else { return nil }
        defer { PQconninfoFree(parsed) }
        var options: [String: String?] = [:]
        var option = parsed
        while let keyword = option.pointee.keyword {
            options.updateValue(option.pointee.val.map { String(cString: $0) }, forKey: String(cString: keyword))
            option += 1
        }
        return options
    }

    /// Those of the libpq that is there.
    private static let keywords = Set(parse("").map { Array($0.keys) } ?? [])

    static func isPort(_ text: String) -> Bool {
        text.utf8.allSatisfy { (48...57).contains($0) } && (Int(text).map { (1...65_535).contains($0) } ?? false)
    }

    /// The same with another value for a keyword.
    public func with(_ keyword: String, _ value: String) -> ConnectionString {
        var copy = self
        copy.options[keyword] = value
        return copy
    }

    /// Host, port and database, for messages; never user or password.
    public var place: String {
        let host = options["host"] ?? options["hostaddr"] ?? "the local server"
        return "\(host)\(options["port"].map { ":\($0)" } ?? "")/\(options["dbname"] ?? options["user"] ?? "")"
    }

    /// What must be written nowhere.
    public var passwords: [String] {
        let decoded = ["password", "sslpassword"].compactMap { options[$0] }
        return decoded + encodedPasswords.filter { !$0.isEmpty && !decoded.contains($0) }
    }

    /// Calls with keywords and values as `PQconnectStartParams` takes them.
    func withParameters<T>(
        _ body: (UnsafePointer<UnsafePointer<CChar>?>, UnsafePointer<UnsafePointer<CChar>?>) -> T
    ) -> T {
        let sorted = options.sorted { $0.key < $1.key }
        let copies = sorted.map { (strdup($0.key), strdup($0.value)) }
        defer {
            copies.forEach {
                free($0.0); free($0.1)
            }
        }
        let keywords = copies.map { UnsafePointer($0.0) } + [nil]
        let values = copies.map { UnsafePointer($0.1) } + [nil]
        return body(keywords, values)
    }
}
