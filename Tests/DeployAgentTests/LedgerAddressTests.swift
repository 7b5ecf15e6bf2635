import Ledger
import Shell
import TestSupport
import Testing

@testable import DeployAgent
@testable import Settings

/// Where the record is, as settings name it.
struct LedgerAddressTests {
    private func resolve(_ environment: [String: String]) throws -> Settings {
        try Settings.resolve(
            options: [:], environment: ProcessEnvironment(environment.merging(["AGENT_STATE_DIR": "/s"]) { $1 }),
            appspec: nil, currentFolder: "/")
    }

    @Test(
        "a PostgreSQL ledger is named by URL or by pairs, as libpq takes them; no view shows its password",
        arguments: [
            ("postgresql://u:hunter2@db:5433/shop", "db:5433/shop"), ("postgres://u:hunter2@db/shop", "db/shop"),
            ("POSTGRES://u:hunter2@db/shop?sslmode=require", "db/shop"),
            ("host=db port=5433 dbname=shop user=u password=hunter2", "db:5433/shop"),
            ("host=db dbname=shop user=u password='hunter2'", "db/shop"),
            ("postgresql:///shop?host=/run/postgresql&password=hunter2", "/run/postgresql/shop"),
        ])
    func postgresql(url: String, place: String) throws {
        let settings = try resolve(["AGENT_LEDGER_URL": url])
        #expect(settings.ledger.isShared)
        #expect(settings.ledger.description == "postgresql://\(place) (schema deploy_agent)")
        #expect(settings.secrets.mask("hunter2") == "***")
        #expect(!settings.listing.contains { $0.value?.contains("hunter2") == true })
    }

    @Test("the URL may lie in a file, which is read again, and whose password is a secret too")
    func file() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("url", "postgresql://u:hunter2@db/shop\n")
        let settings = try resolve(["AGENT_LEDGER_URL_FILE": path, "AGENT_LEDGER_SCHEMA": "Mine"])
        #expect(settings.ledger.description == "postgresql://db/shop (schema Mine)")
        #expect(settings.secrets.mask("hunter2") == "***")
        let both = try resolve(["AGENT_LEDGER_URL_FILE": path, "AGENT_LEDGER_URL": "postgresql://elsewhere/shop"])
        #expect(both.ledger.description == "postgresql://db/shop (schema deploy_agent)", "the file wins")
        try folder.write("url", "postgresql://u:hunter3@other/shop\n")
        #expect(settings.ledger.description == "postgresql://other/shop (schema Mine)")
    }

    @Test("a record is the same one by whatever user and in whatever form it is named")
    func samePlace() throws {
        func address(_ url: String, _ schema: String = "deploy_agent") throws -> LedgerAddress {
            try resolve(["AGENT_LEDGER_URL": url, "AGENT_LEDGER_SCHEMA": schema]).ledger
        }
        let own = try address("postgresql://u:hunter2@db/shop")
        #expect(try own.isSamePlace(as: address("host=db dbname=shop user=admin")))
        #expect(try !own.isSamePlace(as: address("postgresql://u:hunter2@db/blog")))
        #expect(try !own.isSamePlace(as: address("postgresql://u:hunter2@db/shop", "other")))
        #expect(try !address("sqlite:/a").isSamePlace(as: own))
    }

    @Test("a file that is not there or holds something else is an error that names it")
    func wrongFile() throws {
        let folder = try TemporaryFolder()
        let missing = #expect(throws: SettingsError.self) {
            try resolve(["AGENT_LEDGER_URL_FILE": folder.path + "/none"])
        }
        #expect(missing?.description.contains("AGENT_LEDGER_URL_FILE: \"\(folder.path)/none\" cannot be read") == true)
        let path = try folder.write("url", "hunter2")
        let other = #expect(throws: SettingsError.self) { try resolve(["AGENT_LEDGER_URL_FILE": path]) }
        #expect(other?.description.contains("holds no ledger's URL") == true)
        #expect(other?.description.contains("hunter2") == false)
    }

    @Test("pairs that cannot be read are not repeated")
    func wrongPairs() {
        let error = #expect(throws: SettingsError.self) {
            try resolve(["AGENT_LEDGER_URL": "hots=db password=hunter2"])
        }
        #expect(error?.description.contains("hunter2") == false && error?.description.contains("hots") == true)
    }

    @Test("a hook for the whole fleet needs a PostgreSQL ledger", arguments: ["PRE_DEPLOY", "POST_DEPLOY"])
    func scope(hook: String) throws {
        let environment = ["\(hook)_COMMAND": "true", "\(hook)_SCOPE": "fleet"]
        let error = #expect(throws: SettingsError.self) { try resolve(environment) }
        #expect(error?.description.contains("\(hook)_SCOPE: \"fleet\" needs a PostgreSQL ledger") == true)
        let settings = try resolve(environment.merging(["AGENT_LEDGER_URL": "postgresql://db/shop"]) { $1 })
        #expect(settings.hooks.map(\.scope) == [.fleet])
    }
}
