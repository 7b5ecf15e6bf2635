import CLibpq
import Glibc

/// Where a server is and who asks, as libpq takes it: a `postgresql://` URL or `key=value` pairs
/// (https://www.postgresql.org/docs/current/libpq-connect.html). Holds the password, so it has no description.
public struct ConnectionString: Sendable, Equatable {
    /// By libpq's keywords, what the text sets and what this client adds.
    private var options: [String: String]

    /// What is added where the text leaves it open: a server that does not answer is given up, and one that vanished is
    /// noticed, in seconds instead of hours.
    private static let added = [
        "connect_timeout": "10", "tcp_user_timeout": "5000", "keepalives_idle": "10", "keepalives_interval": "5",
        "keepalives_count": "3", "application_name": "deploy-agent", "client_encoding": "UTF8",
    ]

    /// - Throws: `PostgresError` `invalid` when libpq cannot read the text; its words hold nothing of the text's values.
    ///   `unreachable` when there is no libpq.
    public init(_ text: String) throws {
        // Everything else needs one of these first.
        guard agent_load_libpq() == 0 else {
            throw PostgresError(.unreachable, message: "libpq cannot be loaded (Debian: apt-get install libpq5)")
        }
        var problem: UnsafeMutablePointer<CChar>?
        guard let parsed = PQconninfoParse(text, &problem) else {
            // libpq's own words may quote the text, and so a password.
            PQfreemem(problem)
            throw PostgresError(
                .invalid, message: "it is neither a postgresql:// URL nor keyword=value pairs that libpq can read")
        }
        defer { PQconninfoFree(parsed) }
        options = Self.added
        var option = parsed
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { options[String(cString: keyword)] = String(cString: value) }
            option += 1
        }
        // Of several hosts the next one must have its turn while there is time: a lease is to be renewed within seconds.
        let hosts = options["hostaddr"] ?? options["host"] ?? ""
        if hosts.contains(","), options["tcp_user_timeout"] == Self.added["tcp_user_timeout"] {
            options["tcp_user_timeout"] = "1500"
        }
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
    public var passwords: [String] { ["password", "sslpassword"].compactMap { options[$0] } }

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
