import Foundation
import Postgres
import TestSupport
import Testing

/// TLS is libpq's: `sslmode` and certificates in the connection string are honoured as they are everywhere.
@Suite(.timeLimit(.minutes(2)))
struct PostgresTLSTests {
    /// A server with a certificate for `localhost` by an authority of the test's own.
    private static let cluster = Task {
        try await PostgresCluster(
            prepare: """
                openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt 2>/dev/null
                openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost \
                    -keyout data/server.key -out server.csr 2>/dev/null
                echo subjectAltName=DNS:localhost > names
                openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names \
                    -out data/server.crt 2>/dev/null
                chmod 600 data/server.key && echo "ssl = on" >> data/postgresql.conf
                """)
    }

    private func ask(_ options: String, host: String = "localhost") async throws -> Bool {
        let cluster = try await Self.cluster.value
        let authority = options.replacing("CA", with: cluster.folderPath + "/ca.crt")
        let string = try ConnectionString(
            "host=\(host) hostaddr=127.0.0.1 port=\(cluster.port) dbname=postgres user=agent password=s3cret \(authority)"
        )
        return try await PostgresConnection(string).run {
            try $0.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").rows[0].get(0)
        }
    }

    @Test(
        "the mode in the connection string decides",
        arguments: [
            ("sslmode=disable", false), ("sslmode=require", true), ("sslmode=verify-full sslrootcert=CA", true),
        ])
    func modes(options: String, isEncrypted: Bool) async throws {
        #expect(try await ask(options) == isEncrypted)
    }

    @Test("the certificate is compared with the name, also where its address was looked up before")
    func name() async throws {
        let cluster = try await Self.cluster.value
        let string = try ConnectionString(
            "postgresql://agent:s3cret@localhost:\(cluster.port)/postgres?sslmode=verify-full&sslrootcert=\(cluster.folderPath)/ca.crt"
        )
        let isEncrypted = try await PostgresConnection(string).run {
            try $0.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").rows[0].get(0, as: Bool.self)
        }
        #expect(isEncrypted)
    }

    @Test("a server with another name, or by an authority that is not known, is refused")
    func refused() async throws {
        let name = await #expect(throws: PostgresError.self) {
            try await ask("sslmode=verify-full sslrootcert=CA", host: "elsewhere.invalid")
        }
        #expect(name?.description.contains("elsewhere.invalid") == true)
        let unknown = await #expect(throws: PostgresError.self) {
            try await ask("sslmode=verify-full sslrootcert=/etc/hostname")
        }
        #expect(unknown?.code == .unreachable && unknown?.description.contains("s3cret") == false)
    }
}
