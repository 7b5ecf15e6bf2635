import CLibgit2
import DeployAgent
import Foundation
import Git
import Ledger
import LedgerSQLite
import Shell

/// Figures that can only be taken inside the process. Prints one JSON object; `Benchmarks/bench.py` makes the table.
///
/// usage: agent-bench MEASUREMENT NUMBER..., settings from the environment as for `agent`.
/// getrusage(2): RUSAGE_SELF and RUSAGE_CHILDREN.
let (ownUsage, childrenUsage): (Int32, Int32) = (0, -1)

func processorTime(_ who: Int32) -> Double {
    var usage = rusage()
    getrusage(__rusage_who_t(who), &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

func median(_ values: [Double]) -> Double {
    values.sorted()[values.count / 2]
}

func milliseconds(_ duration: Duration) -> Double {
    Double(duration.components.seconds) * 1e3 + Double(duration.components.attoseconds) / 1e15
}

struct BenchError: Error, CustomStringConvertible {
    let description: String
}

/// What any program pays that asks libgit2 for HEAD: open, resolve, close.
func resolveHead(_ path: String) throws {
    var repository: OpaquePointer?
    var id = git_oid()
    guard git_repository_open_ext(&repository, path, GIT_REPOSITORY_OPEN_NO_SEARCH.rawValue, nil) == 0,
        git_reference_name_to_id(&id, repository, "HEAD") == 0
    else { throw BenchError(description: "libgit2 cannot read \(path)") }
    git_repository_free(repository)
}

/// What any program pays that runs `bash -c true`.
func spawnBash() throws {
    var pid = pid_t()
    let arguments = [strdup("bash"), strdup("-c"), strdup("true"), nil]
    defer { for argument in arguments { free(argument) } }
    guard posix_spawnp(&pid, "bash", nil, nil, arguments, environ) == 0 else {
        throw BenchError(description: "cannot run bash")
    }
    var status: Int32 = 0
    waitpid(pid, &status, 0)
}

func withWatcher(_ body: (Watcher, AgentSession) async throws -> [String: Double]) async throws -> [String: Double] {
    let session = try await AgentSession(origin: SettingsOrigin(options: [:], environment: .current))
    guard case .acquired(let lock) = try session.attemptLock(command: "bench") else {
        throw BenchError(description: "the workspace is locked")
    }
    defer { lock.release() }
    let inForce = InForce(session.settings, try session.openLedger())
    return try await body(session.watcher(lock, inForce, stop: StopSignal()), session)
}

/// Processor time of one unchanged check, its children's apart.
func measureChecks(_ count: Int) async throws -> [String: Double] {
    try await withWatcher { watcher, session in
        func check() async throws {
            let outcome = await watcher.check(.poll)
            guard outcome.name == "unchanged" else {
                throw BenchError(description: "\(outcome.name): \(outcome.problem ?? "")")
            }
        }
        for _ in 0..<5 { try await check() }
        let (own, children) = (processorTime(ownUsage), processorTime(childrenUsage))
        for _ in 0..<count { try await check() }
        let spent = processorTime(ownUsage) - own
        let spentByChildren = processorTime(childrenUsage) - children
        return ["check_us": spent / Double(count) * 1e6, "children_us": spentByChildren / Double(count) * 1e6]
    }
}

/// Processor time of libgit2 alone as a program finds it: in a process of its own, for the agent switches parts of it off.
func measureFloor(_ count: Int) throws -> [String: Double] {
    guard let path = ProcessInfo.processInfo.environment["WORKSPACE_PATH"] else {
        throw BenchError(description: "WORKSPACE_PATH is not set")
    }
    git_libgit2_init()
    for _ in 0..<5 { try resolveHead(path) }
    let start = processorTime(ownUsage)
    for _ in 0..<count { try resolveHead(path) }
    return ["libgit2_us": (processorTime(ownUsage) - start) / Double(count) * 1e6]
}

/// Time of a forced deployment from the check to the settled record, beside `bash -c true`.
func measureDeployments(_ count: Int) async throws -> [String: Double] {
    try await withWatcher { watcher, _ in
        var deployments: [Double] = []
        var floors: [Double] = []
        for _ in 0..<count {
            let start = ContinuousClock.now
            let outcome = await watcher.check(.manual, isForced: true)
            deployments.append(milliseconds(ContinuousClock.now - start))
            guard outcome.name == "deployed" else {
                throw BenchError(description: "\(outcome.problem ?? outcome.name)")
            }
            let floorStart = ContinuousClock.now
            try spawnBash()
            floors.append(milliseconds(ContinuousClock.now - floorStart))
        }
        return ["deployment_ms": median(deployments), "bash_ms": median(floors)]
    }
}

/// Time of a look at the tasks, all of them done, beside an unchanged check without one. The file is that of the look before, as
/// with most deployments: it is read, compared and not decoded again.
func measureTasks(_ count: Int) async throws -> [String: Double] {
    try await withWatcher { watcher, _ in
        func check(_ trigger: Trigger) async throws -> Double {
            let start = ContinuousClock.now
            let outcome = await watcher.check(trigger)
            let time = milliseconds(ContinuousClock.now - start)
            guard outcome.name == "unchanged" else {
                throw BenchError(description: "\(outcome.name): \(outcome.problem ?? "")")
            }
            return time
        }
        var (looks, plain): ([Double], [Double]) = ([], [])
        // The first one of a process opens the record, too.
        _ = try await check(.poll)
        for _ in 0..<3 { _ = try await check(.manual) }
        for _ in 0..<count {
            looks.append(try await check(.manual))
            plain.append(try await check(.poll))
        }
        return ["look_ms": median(looks), "plain_ms": median(plain)]
    }
}

/// Decision and listing on the record that is there.
func measureRecord(_ count: Int) async throws -> [String: Double] {
    let session = try await AgentSession(origin: SettingsOrigin(options: [:], environment: .current))
    let ledger = try session.openLedger()
    let reader = RecordReader(session: session, InForce(session.settings, ledger))
    func time(_ body: () async throws -> Void) async throws -> Double {
        try await body()
        var times: [Double] = []
        for _ in 0..<count {
            let start = ContinuousClock.now
            try await body()
            times.append(milliseconds(ContinuousClock.now - start))
        }
        return median(times)
    }
    let (scope, unknown) = (session.scope, String(repeating: "e", count: 40))
    return [
        "decision_ms": try await time { _ = try await ledger.facts(scope, commit: unknown) },
        "history_ms": try await time { _ = try await reader.history(limit: 20, commit: nil, status: nil) },
        "history_of_commit_ms": try await time {
            _ = try await reader.history(limit: 20, commit: unknown, status: nil)
        },
    ]
}

/// What a filter by paths costs: the workspace's branch `base` compared with its HEAD, all paths held against three specs.
func measureChanges(_ count: Int) async throws -> [String: Double] {
    let repository = Repository(path: ProcessInfo.processInfo.environment["WORKSPACE_PATH"] ?? ".")
    guard let base = try await repository.reference("refs/heads/base"), let head = try await repository.head() else {
        throw BenchError(description: "there is no branch `base`")
    }
    let specs = ["none/", "*.sql", ":!docs"].compactMap(Pathspec.init)
    var times: [Double] = []
    var paths = 0
    for _ in 0..<count {
        let start = ContinuousClock.now
        let changed = try await repository.changedFiles(from: base, to: head)
        guard !changed.contain(specs) else { throw BenchError(description: "no path should match") }
        times.append(milliseconds(ContinuousClock.now - start))
        paths = changed.paths.count
    }
    return ["changes_ms": median(times), "paths": Double(paths)]
}

let usage = """
    usage: agent-bench changes|checks|libgit2|deployments|record|tasks COUNT
           agent-bench fleet-prepare
           agent-bench fleet-claims SECONDS CLIENTS FIRST-DEPLOYMENT
           agent-bench fleet-checks AGENTS SECONDS
           agent-bench fleet-history COUNT

    """
let numbers = CommandLine.arguments.dropFirst(2).compactMap { Int($0) }
do {
    let figures: [String: Double]
    switch (CommandLine.arguments.dropFirst().first, numbers.count) {
    case ("changes", 1): figures = try await measureChanges(numbers[0])
    case ("checks", 1): figures = try await measureChecks(numbers[0])
    case ("libgit2", 1): figures = try measureFloor(numbers[0])
    case ("deployments", 1): figures = try await measureDeployments(numbers[0])
    case ("tasks", 1): figures = try await measureTasks(numbers[0])
    case ("record", 1): figures = try await measureRecord(numbers[0])
    case ("fleet-prepare", 0): figures = try await FleetBench().prepare()
    case ("fleet-claims", 3):
        figures = try await FleetBench().claims(seconds: numbers[0], clients: numbers[1], first: numbers[2])
    case ("fleet-checks", 2): figures = try await FleetBench().checks(agents: numbers[0], seconds: numbers[1])
    case ("fleet-history", 1): figures = try await FleetBench().history(count: numbers[0])
    default:
        FileHandle.standardError.write(Data(usage.utf8))
        exit(64)
    }
    print(String(decoding: try JSONSerialization.data(withJSONObject: figures, options: .sortedKeys), as: UTF8.self))
    // Not by `exit`, as in the agent.
    fflush(nil)
    _exit(0)
} catch {
    FileHandle.standardError.write(Data("agent-bench: \(error)\n".utf8))
    exit(1)
}
