import Glibc

/// Looking hosts' names up before libpq does, which would do it in a call that nothing ends.
extension ConnectionString {
    /// The same with the addresses of each host beside its name: the name is still what a certificate and `~/.pgpass` are
    /// compared with. A host of several addresses becomes several hosts, and one that is not found is left out where there are
    /// others, since libpq would go on to them as well.
    ///
    /// - Parameters:
    ///   - cancellation: readable once nobody wants to wait any longer.
    ///   - ask: how a name is looked up; from a thread of its own.
    /// - Throws: `PostgresError` when no host is left.
    func withAddresses(
        cancellation: Int32, deadline: ContinuousClock.Instant,
        by ask: @escaping @Sendable (String) -> NameLookup.Answer = NameLookup.askSystem
    ) throws -> ConnectionString {
        func given(_ keyword: String, _ variable: String) -> String? {
            options[keyword] ?? getenv(variable).map { String(cString: $0) }
        }
        // A service's file may name hosts, too: libpq alone reads it.
        guard given("hostaddr", "PGHOSTADDR")?.isEmpty ?? true, given("service", "PGSERVICE") == nil,
            let hosts = given("host", "PGHOST").map(Self.list)
        else { return self }
        let lookups = try Dictionary(
            uniqueKeysWithValues: Set(hosts.filter(Self.isName)).map { ($0, try NameLookup.of($0, by: ask)) })
        guard !lookups.isEmpty else { return self }
        let ports = given("port", "PGPORT").map(Self.list) ?? []
        // As many as hosts, or one for all; else libpq says what is wrong.
        guard ports.count <= 1 || ports.count == hosts.count else { return self }
        try NameLookup.wait(
            for: Array(lookups.values), isEnough: !hosts.allSatisfy(Self.isName), cancellation: cancellation,
            deadline: deadline)
        var found: [(host: String, address: String, port: String)] = []
        var failure = PostgresError(.unreachable, message: "the host has no address")
        for (index, host) in hosts.enumerated() {
            let port = ports.count > 1 ? ports[index] : ports.first ?? ""
            do {
                // A socket has no address, and an address is its own.
                let addresses =
                    try lookups[host].map { try $0.answer?.get() ?? [] } ?? [Self.isSocket(host) ? "" : host]
                found += addresses.map { (host, $0, port) }
            } catch let error as PostgresError {
                failure = error
            }
        }
        guard !found.isEmpty else { throw failure }
        var string = with("host", found.map(\.host).joined(separator: ","))
        if found.contains(where: { !$0.address.isEmpty }) {
            string = string.with("hostaddr", found.map(\.address).joined(separator: ","))
        }
        if !ports.isEmpty { string = string.with("port", found.map(\.port).joined(separator: ",")) }
        return string.inTurn()
    }

    private static func list(_ text: String) -> [String] {
        text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    }

    /// A path or an abstract name; without a host it is the usual one.
    private static func isSocket(_ host: String) -> Bool { host.isEmpty || host.hasPrefix("/") || host.hasPrefix("@") }

    private static func isName(_ host: String) -> Bool {
        guard !isSocket(host) else { return false }
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST
        var list: UnsafeMutablePointer<addrinfo>?
        defer { if list != nil { freeaddrinfo(list) } }
        return getaddrinfo(host, nil, &hints, &list) != 0
    }
}
