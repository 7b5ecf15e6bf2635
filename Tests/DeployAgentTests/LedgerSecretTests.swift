import Ledger
import Shell
import TestSupport
import Testing

@testable import DeployAgent
@testable import Settings

/// A ledger's URL that is written wrongly gives nothing of its password away.
struct LedgerSecretTests {
    /// Texts as people write them, with a password in the place of `PASSWORD`.
    private static let forms = [
        "postgresql://u:PASSWORD@127.0.0.1:1/db", "postgres://u:PASSWORD@127.0.0.1/db?sslmode=disable",
        "postgresql://u:PASSWORD@127.0.0.1:1,127.0.0.1:2/db",
        "postgresql://u:PASSWORD", "postgresql://:PASSWORD@127.0.0.1:1/db", "POSTGRESQL://u:PASSWORD@127.0.0.1:1/db",
        "postgresql://127.0.0.1:1/db?user=u&password=PASSWORD",
        "postgresql://127.0.0.1:1/db?password=PASSWORD&user=u&schema=public",
        "postgresql://127.0.0.1:1/db?user=u&password=PASSWORD&sslmode=odd",
        "postgresql://127.0.0.1:1/db?user=me@here&sslpassword=PASSWORD",
        "postgresql//u:PASSWORD@127.0.0.1:1/db", "postgresql:u:PASSWORD@127.0.0.1:1/db",
        "postgresql+psycopg2://u:PASSWORD@127.0.0.1:1/db", "jdbc:postgresql://127.0.0.1:1/db?user=u&password=PASSWORD",
        "jdbc:postgresql://u:PASSWORD@127.0.0.1:1/db", "mysql://u:PASSWORD@127.0.0.1:1/db",
        "//u:PASSWORD@127.0.0.1:1/db",
        "u:PASSWORD@127.0.0.1:1/db", "sqlite:postgresql://u:PASSWORD@127.0.0.1:1/db",
        "host=127.0.0.1 port=1 user=u password=PASSWORD", "host=127.0.0.1 port=1 password='PASSWORD' user=u",
        "password=PASSWORD host=127.0.0.1 port=1 hots=db", "host=127.0.0.1 port=1 password = PASSWORD dbname=db",
        "host=127.0.0.1 port=1 dbname=postgresql://u:PASSWORD@127.0.0.1/db", "password PASSWORD",
    ]

    /// Passwords with each special character raw, one that looks like the rest of a URL among them.
    private static let passwords =
        "/@?#:[]%&=+,;'\"\\ {}|^`~!$()*<>".map { "Pa55\($0)W0rd" }
        + [
            "Pa55%2FW0rd", "Pa55@W0rd/x1y2", "Pa55/W0rd@x1y2", "Pa55?W0rd=x1y2", "5555/W0rd", "5555?wvxy=x1y2",
            "Pa55&wvxy=x1y2",
            "Pa55://W0rd", "Pa55@[W0rd", "Pa55'W0rd=x1y2", "Pa55 wvxy=x1y2", "5555,W0rd/x1y2", "Pa55\tW0rd",
            "Pa55ßW0rd", "%Pa55W0rd",
        ]

    private func resolve(_ environment: [String: String]) throws -> Settings {
        try Settings.resolve(
            options: [:], environment: ProcessEnvironment(environment.merging(["AGENT_STATE_DIR": "/s"]) { $1 }),
            appspec: nil, currentFolder: "/")
    }

    /// What a form and the passwords come to, but for URLs that are right and mean something else: a host and a port.
    private func texts(_ form: String) -> [(text: String, password: String)] {
        Self.passwords.compactMap { password in
            let isOther =
                form == "postgresql://u:PASSWORD" && (password.contains("@") || password.hasPrefix("5"))
            return isOther ? nil : (form.replacing("PASSWORD", with: password), password)
        }
    }

    /// Parts of four characters and more of a password that a text has.
    private func parts(of password: String, in text: String) -> [String] {
        let characters = Array(password)
        let parts = (0...max(0, characters.count - 4)).map { String(characters[$0..<min($0 + 4, characters.count)]) }
        return parts.filter { text.contains($0) }
    }

    @Test(
        "no part of a password shows in an error, a view or the settings' listing, whichever character in it is raw",
        arguments: forms, ["AGENT_LEDGER_URL", "AGENT_LEDGER_URL_FILE"])
    func parts(form: String, setting: String) async throws {
        let folder = try TemporaryFolder()
        for (text, password) in texts(form) {
            let value = setting == "AGENT_LEDGER_URL" ? text : try folder.write("url", text)
            var shown: [String] = []
            do {
                let settings = try resolve([setting: value])
                shown += settings.listing.compactMap(\.value) + settings.warnings + [settings.ledger.description]
                do {
                    _ = try await settings.ledger.openExisting()?.facts(settings.scope, commit: "a")
                } catch {
                    shown.append("\(error)")
                }
            } catch let error as SettingsError {
                shown += [error.description] + error.nearMisses
            }
            let found = shown.filter { !parts(of: password, in: $0).isEmpty }
            #expect(found.isEmpty, "\(text): \(found)")
        }
    }

    @Test("the file with the URL may change for the worse under a running agent", arguments: forms)
    func rereadFile(form: String) async throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("url", "postgresql://u:first@127.0.0.1:1/db")
        let settings = try resolve(["AGENT_LEDGER_URL_FILE": path])
        let ledger = try settings.ledger.open()
        for (text, password) in texts(form) {
            try folder.write("url", text)
            let error = await #expect(throws: LedgerError.self) { try await ledger.facts(settings.scope, commit: "a") }
            let shown = "\(error?.description ?? "") \(settings.ledger.description)"
            #expect(parts(of: password, in: shown).isEmpty, "\(shown)")
        }
    }

    @Test("so it is with the addresses of `ledger copy`, and with what wrong usage repeats", arguments: forms)
    func arguments(form: String) {
        for (text, password) in texts(form) {
            do throws(NoLedger) {
                _ = try LedgerAddress(text, schema: "s")
            } catch {
                #expect(parts(of: password, in: error.description).isEmpty, "\(error)")
            }
            let hidden = LedgerAddress.mayHidePassword(text) ? Secrets([text]).mask(text) : Secrets().mask(text)
            let isSeen = text.contains("@") || text.contains("password")
            #expect(!isSeen || parts(of: password, in: hidden).isEmpty, "\(hidden)")
        }
    }

    @Test(
        "a URL that is refused is told what is wrong with it, and what to write",
        arguments: [
            ("postgresql://u:Pa55/W0rd@h/db", "percent-encode", "/ as %2F"),
            ("postgresql://u:Pa55@W0rd@h/db", "more than one @", "@ as %40"),
            ("postgresql://u:5/W0rd@h/db", "percent-encode", "/ as %2F"),
            ("postgresql://u:Pa55%W0rd@h/db", "begins no code", "% as %25"),
            ("postgresql://h/db?user=u&password=Pa55&W0rd", "parameter 3", "& as %26"),
            ("postgresql://h/db?user=u&password=Pa55W0rd&schema=public", "`schema`", "AGENT_LEDGER_SCHEMA"),
            ("postgresql://u:Pa55W0rd@h/db?currentSchema=x", "`currentSchema`", "AGENT_LEDGER_SCHEMA"),
            ("postgresql://u:Pa55W0rd@h/db?sslmod=require", "`sslmod`", "AGENT_LEDGER_URL"),
            ("postgresql://u:Pa55W0rd@h:54321x/db", "no port", "percent-encode"),
            ("postgresql://u:Pa55W0rd@h:99999/db", "no port", "percent-encode"),
            ("postgresql://[::1/db", "[ without a ]", "AGENT_LEDGER_URL"),
            ("jdbc:postgresql://h/db?password=Pa55W0rd", "JDBC", "postgresql://USER@HOST/DATABASE"),
            ("postgresql//u:Pa55W0rd@h/db", "does not begin with postgresql://", "postgresql://USER"),
            ("postgresql+asyncpg://u:Pa55W0rd@h/db", "driver", "postgresql://USER"),
            ("host=db password=Pa55 W0rd", "password='…'", "AGENT_LEDGER_URL"),
            ("hots=db user=u password=Pa55W0rd", "`hots`", "AGENT_LEDGER_URL"),
            ("host=db port=x password=Pa55W0rd", "port", "AGENT_LEDGER_URL"),
        ])
    func reasons(text: String, problem: String, advice: String) {
        let error = #expect(throws: SettingsError.self) { try resolve(["AGENT_LEDGER_URL": text]) }
        let words = error?.description ?? ""
        #expect(words.contains(problem) && words.contains(advice), "\(words)")
        #expect(!words.contains("Pa55") && !words.contains("W0rd"), "\(words)")
    }

    @Test(
        "what libpq understands is understood: raw characters that end nothing, lists of hosts, sockets, IPv6, codes",
        arguments: [
            ("postgresql://u:Pa55#?:[W0rd@h/db", "h/db", "Pa55#?:[W0rd"),
            ("postgresql://u:Pa%2F%40@h/db", "h/db", "Pa/@"),
            ("postgresql://u:Pa55W0rd@a:1,b:2/db?target_session_attrs=any", "a,b:1,2/db", "Pa55W0rd"),
            ("postgresql://u:Pa55W0rd@[::1]:5/db", "::1:5/db", "Pa55W0rd"),
            ("postgresql://h/db?user=me@here&password=Pa/55@W0rd", "h/db", "Pa/55@W0rd"),
            ("postgresql://h/db?ssl=true&password=Pa55W0rd", "h/db", "Pa55W0rd"),
            ("postgresql://%2Frun%2Fpostgresql/db?password=Pa55W0rd", "/run/postgresql/db", "Pa55W0rd"),
            ("host = h dbname = db password = 'Pa\\'55 W0rd'", "h/db", "Pa'55 W0rd"),
        ])
    func understood(text: String, place: String, password: String) throws {
        let settings = try resolve(["AGENT_LEDGER_URL": text])
        #expect(settings.ledger.description == "postgresql://\(place) (schema deploy_agent)")
        #expect(settings.ledger.passwords.first == password && settings.secrets.mask(password) == "***")
    }

    @Test(
        "the URLs of remotes and of notifications give nothing away either",
        arguments: ["GITHUB_REPO_URL", "PRE_DEPLOY_REPO_URL", "POST_DEPLOY_REPO_URL", "NOTIFY_URL"],
        [
            "ftp://u:PASSWORD@h/x", "-https://u:PASSWORD@h/x", "https//u:PASSWORD@h/x", "https://u:PASSWORD@h/x",
            "-https://h/x?password=PASSWORD", "ftp://h/x?access_token=PASSWORD", "ftp//u:PASSWORD@h/x",
            "-u:PASSWORD@h:x",
        ])
    func otherURLs(setting: String, form: String) throws {
        for password in Self.passwords {
            let text = form.replacing("PASSWORD", with: password)
            var shown: [String] = []
            do {
                let settings = try resolve([setting: text, "PRE_DEPLOY_COMMAND": "x", "POST_DEPLOY_COMMAND": "x"])
                shown += settings.listing.compactMap(\.value)
            } catch let error as SettingsError {
                shown.append(error.description)
            }
            let found = shown.filter { !parts(of: password, in: $0).isEmpty }
            #expect(found.isEmpty, "\(text): \(found)")
        }
    }
}
