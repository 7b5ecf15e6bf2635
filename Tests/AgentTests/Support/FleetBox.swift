import Foundation
import TestSupport
import Testing

/// Several hosts in one box: each agent has a workspace, a state directory and a name of its own; the record is one.
struct FleetBox {
    let box: Box
    let schema = uniqueText()
    let url: String
    private let cluster: PostgresCluster

    /// - Parameter cluster: nil for the one that all tests share.
    init(_ cluster: PostgresCluster? = nil) async throws {
        if let cluster { self.cluster = cluster } else { self.cluster = try await SharedPostgres.cluster.value }
        url = self.cluster.url()
        box = try await Box()
    }

    /// What a host's agent is started with.
    func settings(_ host: Int, _ more: [String: String] = [:]) -> [String: String] {
        [
            "AGENT_HOST": "h\(host)", "AGENT_APP": "shop", "WORKSPACE_PATH": "\(box.root)/hosts/\(host)/ws",
            "AGENT_STATE_DIR": "\(box.root)/hosts/\(host)/state", "AGENT_LEDGER_URL": url,
            "AGENT_LEDGER_SCHEMA": schema, "HOST": "h\(host)",
        ].merging(more) { $1 }
    }

    /// Rows of the record, their columns separated by `|`.
    func query(_ sql: String) async throws -> [String] {
        try await box.sh(
            "PGPASSWORD=s3cret PGOPTIONS='-c search_path=\(schema)' psql -XAtq -h 127.0.0.1 -p \(cluster.port) -U agent postgres <<'SQL'\n\(sql)\nSQL"
        ).split(separator: "\n").map(String.init)
    }
}
