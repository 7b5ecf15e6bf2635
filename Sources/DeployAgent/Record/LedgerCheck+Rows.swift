import Ledger

extension LedgerCheck {
    /// What was found, as rows of a table.
    public var rows: [[String]] {
        guard let findings else { return [["ledger", ledger]] }
        var rows = [
            ["ledger", ledger],
            [
                "schema",
                findings.version >= findings.knownVersion
                    ? "version \(findings.version)" : "version \(findings.version) of \(findings.knownVersion)",
            ],
            ["writable", isWritable ? "yes" : "no"],
        ]
        if let contents = findings.contents {
            var deployments = "\(contents.deployments), \(contents.runningDeployments) running"
            if let oldest = contents.oldest, let newest = contents.newest {
                deployments += "; from \(oldest.rfc3339) to \(newest.rfc3339)"
            }
            rows.append(["deployments", deployments])
            rows.append(["runs", "\(contents.runs), \(contents.runningRuns) running"])
        } else {
            rows.append(["deployments", "cannot be counted"])
        }
        rows.append(["size", Self.size(findings.sizeBytes)])
        switch findings.store {
        case .file(let file):
            rows.append(["journal", file.journalMode])
            rows.append(["integrity", file.damage.isEmpty ? "ok" : "damaged"])
        case .server(let server): rows += self.rows(server)
        }
        return rows
    }

    private func rows(_ server: ServerFindings) -> [[String]] {
        let kind = server.isStandby ? "standby" : server.isReadOnly ? "read-only" : "primary"
        var rows = [
            ["server", "PostgreSQL \(server.version), \(kind), \(server.maxConnections) connections at most"],
            ["pooler", server.isPooled ? "yes: hosts ask from time to time instead of being told" : "no"],
            ["encryption", server.encryption ?? "not known behind a pooler"], ["clock", clock(server)],
        ]
        for found in server.leases {
            let left = found.lease.remaining
            let time =
                left > .zero
                ? "for another \(left.wholeMilliseconds / 1000)s"
                : "expired \((Duration.zero - left).wholeMilliseconds / 1000)s ago"
            rows.append([
                "lease",
                "\(found.lease.name) of \(found.app): \(found.lease.host), fence \(found.lease.fence), \(time)",
            ])
        }
        if server.leases.isEmpty { rows.append(["leases", "none held"]) }
        return rows
    }

    private static func size(_ bytes: Int64) -> String {
        switch bytes {
        case ..<1024: return "\(bytes) bytes"
        case ..<(1024 * 1024): return "\(bytes / 1024) KiB"
        default:
            let tenths = bytes * 10 / (1024 * 1024)
            return "\(tenths / 10).\(tenths % 10) MiB"
        }
    }

    var isWritable: Bool {
        guard let findings, findings.refusals.isEmpty else { return false }
        if case .server(let server) = findings.store { return !server.isReadOnly && !server.isStandby }
        return true
    }
}
