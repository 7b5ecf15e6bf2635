import Foundation
import Testing

@testable import DeployAgent
@testable import Settings

@Suite struct DeployFileTests {
    private func read(_ text: String) throws -> [OneTimeTask] {
        try DeployFile(text: text, file: "deploy.yaml").tasks
    }

    private func problems(_ text: String) -> [String] {
        let error = #expect(throws: SettingsError.self) { try read(text) }
        return error?.description.split(separator: "\n").map { String($0.trimmingPrefix("deploy.yaml: ")) } ?? []
    }

    /// One task with a line more, which is the fourth.
    private func entry(_ line: String) -> String { "tasks:\n- id: a\n  run: x\n  \(line)\n" }

    @Test("a task has all that its entry says")
    func example() throws {
        let text = """
            tasks:
              - id: drop-lineup-columns-v1            # unique, versioned, never used again
                name: Drop lineup columns from match_analysis
                run: psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -1 -f migrations/0013_drop_lineup_columns.sql
                folder: db                             # optional
                timeout: 120                           # default 300
                retries: 3                             # further attempts at later deployments, default unlimited
                when: after-app                        # or before-app
                env: {PGAPPNAME: drop, PGPORT: 5432}
            """
        let task = OneTimeTask(
            id: "drop-lineup-columns-v1", name: "Drop lineup columns from match_analysis",
            run: "psql \"$DATABASE_URL\" -v ON_ERROR_STOP=1 -1 -f migrations/0013_drop_lineup_columns.sql",
            folder: "db",
            timeout: .seconds(120), retries: .atMost(3), when: .afterApp,
            environment: ["PGAPPNAME": "drop", "PGPORT": "5432"], line: 2)
        #expect(try read(text) == [task])
        #expect(try read("\u{FEFF}" + text) == [task])
        #expect(try read(text.replacing("\n", with: "\r\n")) == [task])
    }

    @Test("what is left out has its default; tasks keep the order of the list")
    func defaults() throws {
        let tasks = try read("tasks:\n- {run: b, id: 5}\n-\n  id: ä b\n  run: |\n    a\n    b\n")
        #expect(
            tasks == [
                OneTimeTask(
                    id: "5", name: nil, run: "b", folder: ".", timeout: .seconds(300), retries: .unlimited,
                    when: .beforeApp, environment: [:], line: 2),
                OneTimeTask(id: "ä b", run: "a\nb\n", line: 4),
            ])
    }

    @Test(
        "a file in which nothing stands has no tasks",
        arguments: ["", "# nothing\n", "---\n", "null", "{}", "tasks:", "tasks: ~\n", "tasks: []"])
    func empty(text: String) throws {
        #expect(try read(text).isEmpty)
    }

    @Test(
        "a value is read in each of its forms",
        arguments: [
            ("timeout: 1h30m", OneTimeTask(id: "a", run: "x", timeout: .seconds(5400), line: 2)),
            ("timeout: '90'", OneTimeTask(id: "a", run: "x", timeout: .seconds(90), line: 2)),
            ("retries: 0", OneTimeTask(id: "a", run: "x", retries: .atMost(0), line: 2)),
            ("retries: Unlimited", OneTimeTask(id: "a", run: "x", line: 2)),
            ("when: before-app", OneTimeTask(id: "a", run: "x", line: 2)),
            ("folder: ./a//b/", OneTimeTask(id: "a", run: "x", folder: "a/b", line: 2)),
            ("folder: .", OneTimeTask(id: "a", run: "x", line: 2)),
            ("name: yes", OneTimeTask(id: "a", name: "yes", run: "x", line: 2)),
            ("name: >\n    folded", OneTimeTask(id: "a", name: "folded", run: "x", line: 2)),
            ("env:", OneTimeTask(id: "a", run: "x", line: 2)),
            (
                "env: {A: '', B: 007, C: 'null', D: \"a\\nb\"}",
                OneTimeTask(id: "a", run: "x", environment: ["A": "", "B": "007", "C": "null", "D": "a\nb"], line: 2)
            ),
        ])
    func forms(line: String, task: OneTimeTask) throws {
        #expect(try read(entry(line)) == [task])
    }

    @Test(
        "a value that is not accepted is named with its line and what is",
        arguments: [
            ("timeout: soon", "timeout \"soon\" is not accepted; it takes \(Setting.durationForm)"),
            ("timeout: 0", "timeout \"0\" is not accepted; it takes \(Setting.durationForm)"),
            ("timeout: -1", "timeout \"-1\" is not accepted; it takes \(Setting.durationForm)"),
            ("timeout: 1.5", "timeout \"1.5\" is not accepted; it takes \(Setting.durationForm)"),
            ("timeout: [1]", "timeout is a list; it takes \(Setting.durationForm)"),
            ("timeout:", "timeout is empty; it takes \(Setting.durationForm)"),
            ("retries: -1", "retries \"-1\" is not accepted; it takes \(Setting.retriesForm)"),
            ("retries: many", "retries \"many\" is not accepted; it takes \(Setting.retriesForm)"),
            ("retries: {a: b}", "retries is a mapping; it takes \(Setting.retriesForm)"),
            ("when: later", "when \"later\" is not accepted; it takes before-app or after-app"),
            ("folder: /srv", "folder \"/srv\" is not accepted; it takes \(Setting.folderForm)"),
            ("folder: a/../b", "folder \"a/../b\" is not accepted; it takes \(Setting.folderForm)"),
            ("name: \"a\\tb\"", "name \"a b\" is not accepted; it takes a text in one line"),
            ("name: [a]", "name is a list; it takes a text in one line"),
            ("env: secret", "env is a text; it takes a mapping of variables and their values"),
            ("env: [secret]", "env is a list; it takes a mapping of variables and their values"),
            ("env: {A: [secret]}", "A is a list; it takes a text; \"\" is the empty one"),
            ("env: {A: }", "A is empty; it takes a text; \"\" is the empty one"),
            ("env: {A: \"secret\\0\"}", "A holds a NUL byte"),
            (
                "env: {1A: secret}",
                "a key of env must be a variable's name: letters, digits and _, not beginning with a digit"
            ),
            ("env: {AGENT_X: secret}", "AGENT_X is not accepted; AGENT_* and DEPLOY_* are the agent's own"),
            ("env: {DEPLOY_X: secret}", "DEPLOY_X is not accepted; AGENT_* and DEPLOY_* are the agent's own"),
        ])
    func values(line: String, message: String) {
        #expect(problems(entry(line)) == [message + " (deploy.yaml line 4)"])
    }

    private static let idForm = "a printable text of 1 to 200 bytes without white space at its ends"

    @Test(
        "an id is printable text",
        arguments: [
            ("", "id is empty"), ("''", "id is empty"), ("' '", "id is empty"), ("~", "id is empty"),
            ("[a]", "id is a list"), ("{a: b}", "id is a mapping"), ("' a'", "id \" a\" is not accepted"),
            ("\"a\\n\"", "id \"a \" is not accepted"), ("\"a\\u200Bb\"", "id \"a\u{200B}b\" is not accepted"),
            ("\"a\\eb\"", "id \"a b\" is not accepted"), ("\"a\\u00A0\"", "id \"a\u{A0}\" is not accepted"),
            (String(repeating: "é", count: 101), "id \"\(String(repeating: "é", count: 60))…\" is not accepted"),
        ])
    func ids(yaml: String, message: String) {
        #expect(
            problems("tasks:\n- run: x\n  id: \(yaml)\n")
                == ["\(message); it takes \(Self.idForm) (deploy.yaml line 3)"])
    }

    @Test("an id of 200 bytes is accepted")
    func longID() throws {
        let id = String(repeating: "é", count: 100)
        #expect(try read("tasks: [{id: \(id), run: x}]").map(\.id) == [id])
    }

    @Test(
        "a command is a text that is not blank, and is never quoted",
        arguments: [
            ("", "run is empty; it takes a shell command"), ("'  '", "run is empty; it takes a shell command"),
            ("[secret]", "run is a list; it takes a shell command"),
            ("{secret: secret}", "run is a mapping; it takes a shell command"),
            ("\"secret\\0\"", "run holds a NUL byte"),
        ])
    func commands(yaml: String, message: String) {
        #expect(problems("tasks:\n- id: a\n  run: \(yaml)\n") == [message + " (deploy.yaml line 3)"])
    }

    @Test("an entry needs an id and a command")
    func missing() {
        #expect(
            problems("tasks:\n- id: a\n- run: x\n- name: n\n- {}\n") == [
                "a task has no run (deploy.yaml line 2)", "a task has no id (deploy.yaml line 3)",
                "a task has no id (deploy.yaml line 4)", "a task has no run (deploy.yaml line 4)",
                "a task has no id (deploy.yaml line 5)", "a task has no run (deploy.yaml line 5)",
            ])
    }

    @Test("an id that stands twice is named with both lines")
    func duplicates() {
        let text = "tasks:\n- {id: a, run: x}\n- {id: b, run: x}\n- run: x\n  id: a\n"
        #expect(problems(text) == ["the id \"a\" stands twice: also in line 2 (deploy.yaml line 5)"])
    }

    @Test(
        "a key that is not known is refused, with the one that it resembles",
        arguments: [
            ("retrys: 1", "the key \"retrys\" is not known; did you mean \"retries\"?"),
            ("Timeout: 1", "the key \"Timeout\" is not known; did you mean \"timeout\"?"),
            ("fodler: a", "the key \"fodler\" is not known; did you mean \"folder\"?"),
            ("retry: 1", "the key \"retry\" is not known; did you mean \"retries\"?"),
            ("environment: a", "the key \"environment\" is not known; did you mean \"env\"?"),
            ("runs: a", "the key \"runs\" is not known; did you mean \"run\"?"),
            (
                "command: a",
                "the key \"command\" is not known; known here: id, name, run, folder, timeout, retries, when, env"
            ),
            (
                "run:echo \"secret: x\"", "a key is not known; did you mean \"run\"?"
            ),
            ("<<: a", "<< takes a mapping or a list of mappings, as a rule an alias (<<: *NAME)"),
            ("\"<<\": {}", "a key is not known; known here: id, name, run, folder, timeout, retries, when, env"),
        ])
    func unknownKeys(line: String, message: String) {
        #expect(problems(entry(line)) == [message + " (deploy.yaml line 4)"])
    }

    @Test(
        "what the file itself must be",
        arguments: [
            ("- a", "it must be a mapping (tasks:) (deploy.yaml line 1)"),
            ("text", "it must be a mapping (tasks:) (deploy.yaml line 1)"),
            ("jobs: []", "the key \"jobs\" is not known; known here: tasks (deploy.yaml line 1)"),
            ("tasks: []\ntask: []", "the key \"task\" is not known; did you mean \"tasks\"? (deploy.yaml line 2)"),
            ("? [a]\n: b", "a key must be a text (deploy.yaml line 1)"),
            ("\ntasks: {a: b}", "tasks is a mapping; it takes a list of tasks (deploy.yaml line 2)"),
            (
                "tasks:\n- a",
                "an entry of tasks must be a mapping with an id and a command (id:, run:) (deploy.yaml line 2)"
            ),
            ("a: 1\ntasks: []\ntasks: []", "a key stands twice in one mapping: tasks (deploy.yaml line 2)"),
            ("tasks:\n  - {id: a", "(deploy.yaml line 3)"),
            ("tasks: []\n---\ntasks: []", "(deploy.yaml line 2)"),
            ("tasks:\n- id: a\n  run: a\u{7}b\n", "control characters are not allowed (deploy.yaml line 3)"),
        ])
    func file(text: String, message: String) {
        let found = problems(text)
        #expect(found.count == 1 && found[0].hasSuffix(message), "\(found)")
    }

    @Test("all problems are reported at once, in the order of their lines")
    func several() {
        let text = """
            jobs: []
            tasks:
            - id: a
              timeout: soon
              retrys: 1
            - id: a
              run: x
              env: {AGENT_A: 1}
            """
        #expect(problems(text).map { $0.suffix(20) } == [1, 3, 4, 5, 6, 8].map { "(deploy.yaml line \($0))" })
    }

    @Test("of thousands of problems the first fifty are said, and how many there are beside them")
    func manyProblems() {
        let found = problems("tasks:\n" + String(repeating: "- x\n", count: 2000))
        #expect(found.count == 51 && found.first?.hasSuffix("line 2)") == true)
        #expect(found.last == "1950 further problems from here on (deploy.yaml line 52)")
    }

    @Test(
        "merge keys bring what is not there itself, in the file, in a task and in its env",
        arguments: [
            "x-base: &b {timeout: 60, env: {A: 1}}\ntasks:\n- {<<: *b, id: a, run: x, env: {A: 1, B: 2}}\n",
            "tasks:\n- &b {id: a, run: x, timeout: 60, x-env: &e {A: 1}, env: {<<: *e, B: 2}}\n",
            "x-t: &t {id: a, run: x}\n<<: {tasks: [{<<: [*t, {run: y, timeout: 60}], env: {A: 1, B: 2}}]}\n",
            "tasks: [{<<: {id: b, run: x}, id: a, env: {<<: [{B: 2}, {A: 1, B: 3}]}, timeout: 60}]\n",
        ])
    func merges(text: String) throws {
        let tasks = try read(text)
        let task = try #require(tasks.first)
        #expect(tasks.count == 1 && task.id == "a" && task.run == "x" && task.timeout == .seconds(60))
        #expect(task.environment == ["A": "1", "B": "2"])
    }

    @Test("what merges bring is checked as what stands there; what is no mapping is refused with its line")
    func wrongMerges() {
        let text = "x-b: &b {timeout: soon}\n<<: *b\ntasks:\n- {<<: *b, id: a, run: x}\n- id: c\n  run: x\n  <<: [1]\n"
        #expect(
            problems(text) == [
                "timeout \"soon\" is not accepted; it takes \(Setting.durationForm) (deploy.yaml line 1)",
                "the key \"timeout\" is not known; known here: tasks (deploy.yaml line 1)",
                "<< takes a mapping or a list of mappings, as a rule an alias (<<: *NAME) (deploy.yaml line 7)",
            ])
    }

    @Test("a small file that merges make endless is refused", .timeLimit(.minutes(1)))
    func endlessMerges() {
        let levels = (1...12).map {
            "x-l\($0): &l\($0) {<<: [" + Array(repeating: "*l\($0 - 1)", count: 9).joined(separator: ", ") + "]}\n"
        }
        #expect(
            problems("x-l0: &l0 {tasks: []}\n" + levels.joined() + "<<: *l12\n") == [
                "with its aliases written out it is larger than 8388608 bytes (deploy.yaml line 1)"
            ])
    }

    @Test(
        "another tool's file is no wrong one of ours, where no setting names it",
        arguments: [
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n",
            "---\nkind: Service\n---\nkind: Deployment\n", "version: '2.0'\nservices: {}\ndeployment: {}\n",
            "- hosts: all\n  tasks:\n  - command: make\n", "- import_playbook: web.yml\n",
            "{{- if .Values.web }}\nkind: Deployment\n{{- end }}\n",
        ])
    func foreign(text: String) throws {
        let file = try DeployFile.read(Array(text.utf8), file: "deploy.yaml", isNamed: false)
        #expect(file.isForeign && file.tasks.isEmpty)
        #expect(
            file.note?.contains("deploy.yaml is passed over") == true
                && file.note?.contains("AGENT_DEPLOY_FILE") == true)
        #expect(throws: SettingsError.self) {
            try DeployFile.read(Array(text.utf8), file: "deploy.yaml", isNamed: true, known: file)
        }
    }

    @Test(
        "a wrong one of ours is refused under its usual name, too",
        arguments: [
            "task: []\n", "Tasks: []\n", "version: 1\ntasks: []\n", "tasks: [\n", "- {id: a, run: x}\n", "text\n",
            "- a\n",
            "tasks: []\n---\nkind: Service\n", "x-b: &b {tasks: [{id: a}]}\n<<: *b\n",
        ])
    func own(text: String) throws {
        #expect(throws: SettingsError.self) {
            try DeployFile.read(Array(text.utf8), file: "deploy.yaml", isNamed: false)
        }
    }

    @Test("aliases hold where they stand, and a small file that they make endless is refused", .timeLimit(.minutes(1)))
    func aliases() throws {
        #expect(try read("tasks:\n- {id: a, run: &r x}\n- {id: b, run: *r}\n").map(\.run) == ["x", "x"])
        #expect(problems("tasks:\n- {id: a, run: &r [x]}\n- id: b\n  run: *r\n").last?.hasSuffix("line 4)") == true)
        let long = "tasks:\n- {id: a, run: &r \(String(repeating: "x", count: 100_000))}\n"
        let many = (0..<200).map { "- {id: t\($0), run: *r}\n" }.joined()
        #expect(
            problems(long + many) == [
                "with its aliases written out it is larger than 8388608 bytes (deploy.yaml line 1)"
            ])
        let keys = "- {id: a, run: &k \(String(repeating: "k", count: 100_000))}\n"
        #expect(
            problems("tasks:\n" + keys + String(repeating: "- {*k : x}\n", count: 200)).first
                == "with its aliases written out it is larger than 8388608 bytes (deploy.yaml line 1)")
        let levels = (1...12).map {
            "- &l\($0) [" + Array(repeating: "*l\($0 - 1)", count: 9).joined(separator: ", ") + "]\n"
        }
        #expect(problems("tasks:\n- &l0 [x]\n" + levels.joined()).count == 13)
    }

    @Test("a digest is that of what a task does, and stays the same from version to version")
    func digest() {
        let task = OneTimeTask(id: "a", run: "make", folder: "db", environment: ["B": "2", "A": "1"])
        // printf '4:make,2:db,1:A,1:1,1:B,1:2,' | sha256sum
        #expect(task.digest == "eabe8af7631e369eeab056d341b12771e4e5b86576ad7d222f8d733485eb9e3f")
        let same = OneTimeTask(
            id: "b", name: "n", run: "make", folder: "db", timeout: .seconds(1), retries: .atMost(1), when: .afterApp,
            environment: ["A": "1", "B": "2"], line: 9)
        #expect(task.digest == same.digest)
    }

    @Test(
        "another command, folder or environment is another digest",
        arguments: [
            OneTimeTask(id: "a", run: "make "), OneTimeTask(id: "a", run: "make", folder: "db"),
            OneTimeTask(id: "a", run: "make", environment: ["A": "1"]),
            OneTimeTask(id: "a", run: "make", environment: ["A": "11"]),
            OneTimeTask(id: "a", run: "make", environment: ["A1": "1"]),
            OneTimeTask(id: "a", run: "make", environment: ["A": "1", "B": "2"]),
            OneTimeTask(id: "a", run: "make", environment: ["A": "2", "B": "1"]),
            OneTimeTask(id: "a", run: "make,1:.", folder: "."),
        ])
    func otherDigest(task: OneTimeTask) {
        #expect(task.digest != OneTimeTask(id: "a", run: "make").digest)
    }

    @Test("the order of env is of no consequence")
    func environmentOrder() throws {
        let tasks = try read("tasks:\n- {id: a, run: x, env: {A: 1, B: 2}}\n- {id: b, run: x, env: {B: 2, A: 1}}\n")
        #expect(tasks[0].digest == tasks[1].digest)
    }

    @Test("the schema for editors has the same keys, values and defaults")
    func schema() throws {
        let root = try #require(Self.schema)
        #expect(Set(Self.properties(root).keys) == Set(DeployFile.Key.allCases.map(\.rawValue)))
        let definitions = try #require(root["definitions"] as? [String: [String: Any]])
        let task = try #require(definitions["task"])
        let keys = Self.properties(task)
        #expect(Set(keys.keys) == Set(OneTimeTask.Key.allCases.map(\.rawValue)))
        #expect(task["required"] as? [String] == ["id", "run"])
        #expect(keys["when"]?["enum"] as? [String] == OneTimeTask.When.allCases.map(\.rawValue))
        let fallback = OneTimeTask(id: "a", run: "x")
        #expect(keys["when"]?["default"] as? String == fallback.when.rawValue)
        #expect((definitions["timeout"]?["default"] as? Int).map { .seconds($0) } == fallback.timeout)
        #expect(definitions["retries"]?["default"] as? String == fallback.retries.text)
        #expect(definitions["folder"]?["default"] as? String == fallback.folder)
        for object in [root, task] { #expect(object["additionalProperties"] as? Bool == false) }
    }

    @Test(
        "the schema's patterns accept what the agent does",
        arguments: [
            ("id", ["a", "drop-v1", "ä b"], ["", " a", "a ", "a\tb"]),
            ("timeout", ["300", "90s", "5m", "1h30m", "500ms", "1H"], ["", "0", "m5", "5m1h", "1.5", "-1"]),
            ("retries", ["0", "3", "unlimited"], ["", "-1", "many"]),
            ("folder", ["db", "a/b", ".", "a/..b", "...", ".a"], ["/a", "..", "a/..", "../a", "a/../b"]),
        ])
    func patterns(key: String, accepted: [String], refused: [String]) throws {
        let definitions = try #require(Self.schema?["definitions"] as? [String: [String: Any]])
        let definition = try #require(definitions[key] ?? definitions["task"].flatMap { Self.properties($0)[key] })
        let pattern = try Regex(try #require(definition["pattern"] as? String))
        for (texts, isAccepted) in [(accepted, true), (refused, false)] {
            for text in texts {
                #expect((text.firstMatch(of: pattern) != nil) == isAccepted, "\(text)")
                let quoted = "'\(text)'"
                let yaml = key == "id" ? "tasks:\n- {run: x, id: \(quoted)}" : entry("\(key): \(quoted)")
                #expect(((try? read(yaml)) != nil) == isAccepted, "\(text)")
            }
        }
    }

    private static var schema: [String: Any]? {
        let path = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 } + "/docs/deploy.schema.json"
        return FileManager.default.contents(atPath: path).flatMap {
            try? JSONSerialization.jsonObject(with: $0) as? [String: Any]
        }
    }

    private static func properties(_ schema: [String: Any]) -> [String: [String: Any]] {
        schema["properties"] as? [String: [String: Any]] ?? [:]
    }
}
