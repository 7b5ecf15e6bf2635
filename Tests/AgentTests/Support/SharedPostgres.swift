import TestSupport

/// The PostgreSQL server of all tests of the built binary; it ends with the process.
enum SharedPostgres {
    static let cluster = Task { try await PostgresCluster() }
}
