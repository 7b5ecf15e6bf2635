import ArgumentParser
import DeployAgent
import Ledger
import Log

/// `agent fleet`: the app's hosts, and who holds which lease.
struct FleetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fleet",
        abstract: "Show the app's hosts, which of them lag behind, and who holds which lease.",
        discussion: """
            Needs a PostgreSQL ledger that the hosts share.

            Example:
              agent fleet --ledger postgresql://agent@db.internal/deploys
            """)

    @Flag(help: "Show hosts too that were not seen for a day.")
    var all = false

    @Flag(help: "Print as JSON.")
    var json = false

    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await common.session { session, _ in
            let fleet = try await RecordReader(session: session).fleet(all: all)
            if json {
                try printJSON(fleet)
            } else {
                print(fleet, mask: session.log.mask)
            }
            return .success
        }
    }

    private func print(_ fleet: FleetView, mask: (String) -> String) {
        /// What hosts say of themselves may hold anything.
        func printTable(_ rows: [[String]]) {
            printLine(table(rows.map { $0.map { mask($0).withoutControls } }))
        }
        if fleet.hosts.isEmpty && fleet.unseenHosts == 0 {
            printLine("no hosts in the record")
        } else {
            printLine(fleet.summary)
            for head in fleet.commits {
                printLine("\(mask(head.ref ?? "HEAD").withoutControls) is at \(head.commit.prefix(7))")
            }
        }
        if !fleet.hosts.isEmpty {
            printLine("")
            printTable(hostRows(fleet))
        }
        if fleet.unseenHosts > 0 && !all {
            let hosts = fleet.unseenHosts == 1 ? "host" : "hosts"
            printLine("and \(fleet.unseenHosts) \(hosts) not seen for a day (--all shows them)")
        }
        if !fleet.leases.isEmpty {
            printLine("")
            printTable(leaseRows(fleet))
        }
    }

    private func hostRows(_ fleet: FleetView) -> [[String]] {
        // Only where it tells hosts apart.
        let showsRef = Set(fleet.hosts.map(\.ref)).count > 1
        let showsWorkspace = Set(fleet.hosts.map(\.host)).count < fleet.hosts.count
        func row(
            host: String, workspace: String, state: String, ref: String, commit: String, deployment: [String],
            seen: String, check: String
        ) -> [String] {
            let name = showsWorkspace ? [host, workspace] : [host]
            let place = showsRef ? [state, ref, commit] : [state, commit]
            return name + place + deployment + [seen, check]
        }
        let titles = row(
            host: "HOST", workspace: "WORKSPACE", state: "STATE", ref: "REF", commit: "COMMIT",
            deployment: ["LAST DEPLOYMENT", ""], seen: "SEEN", check: "LAST CHECK")
        let rows = fleet.hosts.map { host in
            row(
                host: host.host, workspace: host.workspace, state: host.state.rawValue, ref: host.ref ?? "HEAD",
                commit: host.commit.map { String($0.prefix(7)) } ?? "none", deployment: last(host.lastDeployment),
                // Both by the clock of the store.
                seen: relative(host.lastSeen, to: host.lastSeen.advanced(by: host.unseenFor)), check: check(host))
        }
        return [titles] + rows
    }

    private func last(_ deployment: Deployment?) -> [String] {
        guard let deployment else { return ["none", ""] }
        return [
            "\(deployment.id): \(deployment.status.rawValue) \(deployment.commit.prefix(7))",
            relative(deployment.completedAt ?? deployment.startedAt),
        ]
    }

    private func check(_ host: FleetHostView) -> String {
        guard let problem = host.lastError ?? (host.state == .failed ? host.lastDeployment?.errorMessage : nil) else {
            return host.lastOutcome
        }
        let shown = problem.count > 100 ? problem.prefix(99) + "…" : problem[...]
        return "\(host.lastOutcome): \(shown)"
    }

    private func leaseRows(_ fleet: FleetView) -> [[String]] {
        let rows = fleet.leases.map(\.lease).map { lease in
            let now = Timestamp(milliseconds: 0)
            return [
                lease.name, "\(lease.fence)", lease.host, String(lease.commit.prefix(7)),
                lease.run.map(String.init) ?? "",
                relative(lease.acquiredAt), relative(now.advanced(by: lease.remaining), to: now),
            ]
        }
        return [["LEASE", "FENCE", "HOST", "COMMIT", "RUN", "SINCE", "EXPIRES"]] + rows
    }
}
