import Ledger

/// As JSON: what is not known, or the store does not have, is null; keys are always there.
extension LedgerCheck: Encodable {
    private enum Keys: String, CodingKey {
        case ledger, store, exists, reachable, writable, deployments, runs, oldest, newest, encryption, leases
        case problems, warnings, notes, integrity
        case schemaVersion = "schema_version"
        case schemaVersionKnown = "schema_version_known"
        case runningDeployments = "running_deployments"
        case runningRuns = "running_runs"
        case sizeBytes = "size_bytes"
        case journalMode = "journal_mode"
        case serverVersion = "server_version"
        case isStandby = "standby"
        case isReadOnly = "read_only"
        case maxConnections = "max_connections"
        case isPooled = "pooled"
        case clockAheadMS = "clock_ahead_ms"
    }

    private enum LeaseKeys: String, CodingKey {
        case app, hook, host, commit, fence, run
        case remainingMS = "remaining_ms"
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Keys.self)
        try container.encode(ledger, forKey: .ledger)
        try container.encode(isShared ? "postgresql" : "sqlite", forKey: .store)
        try container.encode(failure == nil, forKey: .reachable)
        // Whether there is one is not known of what could not be reached.
        try container.encode(failure == nil ? exists : nil, forKey: .exists)
        try container.encode(findings.map { _ in isWritable }, forKey: .writable)
        try container.encode(findings?.version, forKey: .schemaVersion)
        try container.encode(findings?.knownVersion, forKey: .schemaVersionKnown)
        try container.encode(findings?.sizeBytes, forKey: .sizeBytes)
        let contents = findings?.contents
        try container.encode(contents?.deployments, forKey: .deployments)
        try container.encode(contents?.runs, forKey: .runs)
        try container.encode(contents?.runningDeployments, forKey: .runningDeployments)
        try container.encode(contents?.runningRuns, forKey: .runningRuns)
        try container.encode(contents?.oldest?.rfc3339, forKey: .oldest)
        try container.encode(contents?.newest?.rfc3339, forKey: .newest)
        try encodeStore(&container)
        try container.encode(problems, forKey: .problems)
        try container.encode(warnings, forKey: .warnings)
        try container.encode(notes, forKey: .notes)
    }

    private func encodeStore(_ container: inout KeyedEncodingContainer<Keys>) throws {
        var (file, server): (FileFindings?, ServerFindings?)
        switch findings?.store {
        case .file(let found): file = found
        case .server(let found): server = found
        case nil: break
        }
        try container.encode(file?.journalMode, forKey: .journalMode)
        try container.encode(file.map { $0.damage.isEmpty ? "ok" : "damaged" }, forKey: .integrity)
        try container.encode(server?.version, forKey: .serverVersion)
        try container.encode(server?.isStandby, forKey: .isStandby)
        try container.encode(server?.isReadOnly, forKey: .isReadOnly)
        try container.encode(server?.maxConnections, forKey: .maxConnections)
        try container.encode(server?.isPooled, forKey: .isPooled)
        try container.encode(server?.encryption, forKey: .encryption)
        try container.encode(server?.clockAheadMilliseconds, forKey: .clockAheadMS)
        guard let server else { return try container.encodeNil(forKey: .leases) }
        var leases = container.nestedUnkeyedContainer(forKey: .leases)
        for found in server.leases {
            var entry = leases.nestedContainer(keyedBy: LeaseKeys.self)
            try entry.encode(found.app, forKey: .app)
            try entry.encode(found.lease.name, forKey: .hook)
            try entry.encode(found.lease.host, forKey: .host)
            try entry.encode(found.lease.commit, forKey: .commit)
            try entry.encode(found.lease.fence, forKey: .fence)
            try entry.encode(found.lease.run, forKey: .run)
            try entry.encode(found.lease.remaining.wholeMilliseconds, forKey: .remainingMS)
        }
    }
}
