import Shell
import Testing

@testable import DeployAgent
@testable import Settings

@Suite struct AppSpecTests {
    private func spec(_ text: String) throws -> AppSpec {
        try AppSpec(text: text, file: "appspec.yaml")
    }

    private func values(_ text: String, service: String? = nil, environment: [String: String] = [:]) throws -> [String:
        String]
    {
        let resolved = try spec(text).resolve(service: service, environment: ProcessEnvironment(environment))
        guard resolved.problems.isEmpty else { throw SettingsError(resolved.problems) }
        return resolved.values.compactMapValues(\.value)
    }

    @Test("a service's entry wins over a top-level one, also below a spec: key", arguments: ["", "spec:\n"])
    func precedence(wrapper: String) throws {
        let indent = wrapper.isEmpty ? "" : "  "
        let lines = [
            "name: shop", "region: ams", "envs:", "- {key: A, value: top}", "- {key: B, value: 3}", "services:",
            "- name: web", "  http_port: 80", "  envs:", "  - {key: A, value: service}", "workers:", "- name: w",
        ]
        let text = wrapper + lines.map { indent + $0 }.joined(separator: "\n")
        #expect(try values(text) == ["A": "service", "B": "3"])
        #expect(try spec(text).name == "shop")
    }

    @Test("which service counts is said by AGENT_SERVICE, else it is the only one")
    func services() throws {
        let text = """
            services:
            - {name: web, envs: [{key: A, value: web}]}
            - {name: api, envs: [{key: A, value: api}]}
            """
        #expect(try values(text, service: "api") == ["A": "api"])
        let resolved = try spec(text).resolve(service: nil, environment: ProcessEnvironment([:]))
        #expect(resolved.values.isEmpty && resolved.warnings.contains { $0.contains("AGENT_SERVICE") })
        let error = #expect(throws: SettingsError.self) { try values(text, service: "none") }
        #expect(
            error?.description
                == "AGENT_SERVICE: \"none\" is no service of appspec.yaml; it has \"web\", \"api\" (environment)")
        let own = #expect(throws: SettingsError.self) { try values(text + "\nenvs: [{key: AGENT_SERVICE, value: no}]") }
        #expect(own?.problems.first?.source == .appspec(file: "appspec.yaml", line: 4))
    }

    @Test("BUILD_TIME entries do not count at run time")
    func scopes() throws {
        let text = """
            envs:
            - {key: A, value: x, scope: BUILD_TIME}
            - {key: B, value: x, scope: RUN_TIME}
            - {key: C, value: x, scope: RUN_AND_BUILD_TIME}
            - {key: D, value: x}
            """
        #expect(try values(text).keys.sorted() == ["B", "C", "D"])
    }

    @Test(
        "${NAME} comes from the process environment; what cannot be resolved is left out with a warning",
        arguments: [
            ("a-${X}-${Y}", "a-1-2"), ("${X}", "1"), ("$X ${", "$X ${"), ("${NO}", nil), ("EV[1:abc:def]", nil),
            ("", ""),
        ])
    func expansion(value: String, expected: String?) throws {
        let text = "envs:\n- {key: A, value: \"\(value)\"}"
        let resolved = try spec(text).resolve(service: nil, environment: ProcessEnvironment(["X": "1", "Y": "2"]))
        #expect(resolved.values["A"]?.value == expected)
        #expect(resolved.warnings.isEmpty == (expected != nil))
    }

    @Test(
        "a variable that a SECRET entry lacks is named, which a mask of the reference would hide",
        arguments: ["${db.PASSWORD}", "${HOST}${db.PASSWORD}", " ${db.PASSWORD}", "key-${db.PASSWORD}"])
    func missingOfSecret(value: String) throws {
        let text = "envs:\n- {key: DB_PASS, value: \"\(value)\", type: SECRET}"
        let resolved = try spec(text).resolve(service: nil, environment: ProcessEnvironment(["HOST": "host-value"]))
        let warning = Secrets(resolved.secretValues).mask(try #require(resolved.warnings.first))
        #expect(warning == "appspec.yaml line 2: DB_PASS is left out: ${db.PASSWORD} is not set in the environment")
    }

    @Test("what stands in a SECRET entry beside a reference is secret with it")
    func literalOfSecret() throws {
        let text = "envs:\n- {key: KEY, value: \"live-${REST}\", type: SECRET}"
        for (environment, shown) in [([:], "live-${REST}"), (["REST": "0123"], "live-0123 0123")] {
            let settings = try Settings.resolve(
                options: [:], environment: ProcessEnvironment(environment.merging(["PATH": "/bin"]) { $1 }),
                appspec: try spec(text), currentFolder: "/srv")
            #expect(!settings.secrets.mask(shown).contains("live"), "\(shown)")
        }
    }

    @Test("an unresolved entry neither warns about nor hides a real environment value")
    func realValue() throws {
        let text = "envs:\n- {key: A, value: \"EV[1:x:y]\", type: SECRET}"
        let resolved = try spec(text).resolve(service: nil, environment: ProcessEnvironment(["A": "real"]))
        #expect(resolved.values["A"] == nil && resolved.warnings.isEmpty && resolved.secretKeys == ["A"])
    }

    @Test(
        "secrets of every section and scope are known",
        arguments: [
            "envs: [{key: A, value: hidden, type: SECRET, scope: BUILD_TIME}]",
            "workers: [{name: w, envs: [{key: A, value: hidden, type: SECRET}]}]",
            "spec: {jobs: [{name: j, envs: [{key: A, value: hidden, type: SECRET}]}]}",
        ])
    func secrets(text: String) throws {
        let resolved = try spec(text).resolve(service: nil, environment: ProcessEnvironment([:]))
        #expect(resolved.secretValues == ["hidden"] && resolved.secretKeys == ["A"])
    }

    @Test(
        "what is wrong is named with its line",
        arguments: [
            ("version: 0.0\nos: linux\nhooks:\n  x: []", 1, "CodeDeploy"),
            ("version: 0.0\nResources:\n- TargetService: {}", 1, "CodeDeploy file (version: 0.0 with Resources:)"),
            ("os: linux\nversion: 0.0\nfiles: []", 2, "CodeDeploy file (version: 0.0 with files:)"),
            ("name: a\nenvs:\n- {key: 1A, value: x}", 3, "key"),
            ("name: a\nenvs:\n- key: A\n  scope: SOMETIMES", 4, "SOMETIMES"),
            ("name: a\nenvs:\n- key: A\n  value: x\n  type: HIDDEN", 5, "HIDDEN"),
            ("name: a\nenvs:\n- key: A\n  value: [1]", 4, "value"),
            ("name: a\nenvs: text", 2, "envs"),
            ("name: a\nservices: {a: b}", 2, "services"),
            ("- a\n- b", 1, "mapping"),
            ("name: a\nenvs:\n  - {key: A", 3, "YAML"),
        ])
    func problems(text: String, line: Int, word: String) {
        let error = #expect(throws: SettingsError.self) { try spec(text) }
        #expect(error?.description.contains(word) == true && error?.description.contains("appspec.yaml line") == true)
        if case .appspec(_, let found)? = error?.problems.first?.source { #expect(abs(found - line) <= 1) }
    }

    @Test("a byte order mark at the beginning is no content")
    func byteOrderMark() throws {
        #expect(try values("\u{FEFF}envs: [{key: A, value: x}]") == ["A": "x"])
    }

    @Test("an empty spec sets nothing", arguments: ["", "# nothing\n", "{}", "envs:", "services: []"])
    func empty(text: String) throws {
        #expect(try values(text).isEmpty)
    }

    @Test(
        "a value is the text that stands there",
        arguments: [
            ("yes", "yes"), ("007", "007"), ("1.50", "1.50"), ("'quoted # text'", "quoted # text"),
            ("\"line\\nbreak\"", "line\nbreak"), ("|\n    two\n    lines", "two\nlines\n"), ("'null'", "null"),
            ("$HOME and $", "$HOME and $"), ("ü€😀", "ü€😀"), ("'$${X}'", "$1"), ("'${NESTED}'", "${X}"),
        ])
    func scalars(yaml: String, expected: String) throws {
        let environment = ["X": "1", "NESTED": "${X}"]
        #expect(try values("envs:\n- key: K\n  value: \(yaml)\n", environment: environment) == ["K": expected])
    }

    @Test(
        "a warning names the key and the line of what is left out, and no encrypted value",
        arguments: ["'${MISSING}'", "'x${db.URL}'", "'${EMPTY}'", "'${}'", "'EV[1:abc:def]'", "", "null", "~"])
    func warning(yaml: String) throws {
        let text = "envs:\n- key: KEY_NAME\n  value: \(yaml)\n"
        let resolved = try spec(text).resolve(service: nil, environment: ProcessEnvironment(["EMPTY": ""]))
        let warning = try #require(resolved.warnings.first)
        #expect(resolved.values.isEmpty && resolved.warnings.count == 1)
        #expect(warning.contains("KEY_NAME") && warning.contains("line 3") && !warning.contains("abc"))
    }

    @Test(
        "a hook's command that cannot be resolved is left out with a warning that says the hook does not run",
        arguments: ["'${MISSING} x'", "'EV[1:abc:def]'"])
    func unresolvedCommand(yaml: String) throws {
        let text = "envs:\n- key: PRE_DEPLOY_COMMAND\n  value: \(yaml)\n"
        let resolved = try spec(text).resolve(service: nil, environment: ProcessEnvironment([:]))
        #expect(resolved.problems.isEmpty && resolved.values.isEmpty && resolved.warnings.count == 1)
        let warning = try #require(resolved.warnings.first)
        #expect(warning.contains("line 3") && warning.contains("PRE_DEPLOY DOES NOT RUN"))
        let real = ProcessEnvironment(["PRE_DEPLOY_COMMAND": "make"])
        #expect(try spec(text).resolve(service: nil, environment: real).warnings.isEmpty)
    }

    @Test(
        "what no spec may hold is an error with its line",
        arguments: [
            ("envs:\n- A\n", 2), ("envs:\n- value: x\n", 2), ("envs:\n- key: A B\n  value: x\n", 2),
            ("envs:\n- key: A=B\n", 2), ("envs:\n- key: ''\n", 2), ("name: [a]\n", 1), ("services:\n- web\n", 2),
            ("services:\n- name: a\n  envs: x\n", 3), ("a: 1\nname: x\nname: y\n", 2), ("\tname: x\n", 1),
            ("envs:\n- key: A\n  value: \"a\\0b\"\n", 3), ("hooks: {}\nversion: 0.0\n", 2),
            ("name: a\n<<: text\n", 2), ("envs:\n- key: A\n  <<:\n", 3), ("envs:\n- key: A\n  <<: [text]\n", 3),
            ("a: &a {<<: 1}\nb:\n  <<: *a\n", 1), ("<<: {}\n<<: {}\n", 1), ("<<: *nowhere\n", 1),
        ])
    func refused(text: String, line: Int) throws {
        let error = #expect(throws: SettingsError.self) { try spec(text) }
        #expect(error?.problems.map(\.source) == [.appspec(file: "appspec.yaml", line: line)])
        #expect(error?.problems.first?.text.isEmpty == false)
    }

    @Test("an error about a SECRET entry does not show its value")
    func secretInError() throws {
        let error = #expect(throws: SettingsError.self) {
            try spec("envs:\n- key: A\n  type: SECRET\n  value: [s3cr3t-value]\n")
        }
        #expect(error?.description.contains("s3cr3t") == false)
    }

    @Test(
        "merge keys bring what is not there itself: earlier mappings before later ones, and what those merge",
        arguments: [
            ("x: &x [{key: A, value: x}]\nm: &m {envs: *x}\n<<: *m\n", ["A": "x"]),
            ("x: &x {envs: [{key: A, value: x}]}\nspec:\n  <<: *x\n", ["A": "x"]),
            ("x: &x {envs: [{key: A, value: x}]}\nservices: [{<<: *x, name: web}]\n", ["A": "x"]),
            ("x: &x {envs: [{key: A, value: x}]}\n<<: *x\nenvs: [{key: B, value: y}]\n", ["B": "y"]),
            ("x: &x {value: x}\nenvs: [{<<: *x, key: A}, {key: B, value: y, <<: *x}]\n", ["A": "x", "B": "y"]),
            ("x: &x {value: x}\ny: &y {value: y, key: A}\nenvs: [{<<: [*x, *y]}]\n", ["A": "x"]),
            ("x: &x {value: x}\ny: &y {<<: *x, key: A}\nz: &z {value: z}\nenvs: [{<<: [*y, *z]}]\n", ["A": "x"]),
            ("x: &x {scope: BUILD_TIME}\nenvs: [{<<: *x, key: A, value: x}]\n", [:]),
            ("envs: [{<<: [], key: A, value: x}, {<<: {}, key: B, value: y}]\n", ["A": "x", "B": "y"]),
            ("x: &x {value: x}\nenvs: [{\"<<\": *x, key: A, value: y}]\n", ["A": "y"]),
        ] as [(String, [String: String])])
    func merges(text: String, expected: [String: String]) throws {
        #expect(try values(text) == expected)
    }

    @Test(
        "an entry that is secret by what it merges is secret, in whichever section",
        arguments: [
            "envs: [{<<: *s, key: A, value: hidden}]", "workers: [{envs: [{<<: *s, key: A, value: hidden}]}]",
            "workers: [{<<: {envs: [{<<: [*s], key: A, value: hidden}]}}]",
        ])
    func mergedSecrets(text: String) throws {
        let resolved = try spec("x: &s {type: SECRET}\n" + text).resolve(
            service: nil, environment: ProcessEnvironment([:]))
        #expect(resolved.secretValues == ["hidden"] && resolved.secretKeys == ["A"])
    }

    @Test(
        "a small file that merges make endless is refused, and as long a chain of them", .timeLimit(.minutes(1)),
        arguments: [("[*l, *l, *l, *l, *l, *l, *l, *l, *l]", 12), ("*l", 5000)])
    func endlessMerges(value: String, levels: Int) {
        let text = (1...levels).map { "l\($0): &l\($0) {<<: \(value.replacing("*l", with: "*l\($0 - 1)"))}\n" }
        let error = #expect(throws: SettingsError.self) {
            try spec("l0: &l0 {envs: [{key: A, value: x}]}\n" + text.joined() + "<<: *l\(levels)\n")
        }
        #expect(error?.description.contains("aliases of aliases") == true)
    }

    @Test("a chain of merges is read to its end")
    func chain() throws {
        let text = (1...150).map { "l\($0): &l\($0) {<<: *l\($0 - 1)}\n" }.joined()
        #expect(try values("l0: &l0 {envs: [{key: A, value: x}]}\n" + text + "<<: *l150\n") == ["A": "x"])
    }

    @Test("a small file that aliases make endless is refused", .timeLimit(.minutes(1)))
    func aliases() {
        let levels = (1...12).map {
            "l\($0): &l\($0) [" + Array(repeating: "*l\($0 - 1)", count: 9).joined(separator: ", ") + "]"
        }
        let text = "l0: &l0 [x]\n" + levels.joined(separator: "\n")
        #expect(throws: SettingsError.self) { try spec(text) }
    }
}
