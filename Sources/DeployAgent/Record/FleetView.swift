import Ledger

/// An app's hosts and leases at one moment, as `agent fleet` shows them; absent values are null, keys are always there.
public struct FleetView: Encodable, Sendable {
    /// A followed ref and the commit that the fleet is at.
    public struct Head: Encodable, Sendable {
        /// Nil for HEAD.
        public let ref: String?
        public let commit: String

        private enum CodingKeys: CodingKey { case ref, commit }

        public func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(ref, forKey: .ref)
            try container.encode(commit, forKey: .commit)
        }
    }

    public let app: String
    /// One for each followed ref.
    public let commits: [Head]
    /// By name; those unseen for a day come last, if they were asked for.
    public let hosts: [FleetHostView]
    /// How many were not seen for a day, shown or not.
    public let unseenHosts: Int
    public let leases: [LeaseView]

    /// - Parameters:
    ///   - all: shows hosts too that were not seen for a day.
    ///   - mask: takes secrets out of a text.
    init(app: String, _ fleet: Fleet, all: Bool, mask: @escaping @Sendable (String) -> String) {
        let standing = FleetStanding(fleet)
        let known = fleet.hosts.map { FleetHostView($0, in: standing, mask: mask) }
        let gone = known.filter { $0.state == .gone }
        self.app = app
        commits = standing.heads.map { Head(ref: $0.ref.map(mask), commit: $0.commit) }
        hosts = (known.filter { $0.state != .gone }).sorted(by: Self.byName) + (all ? gone.sorted(by: Self.byName) : [])
        unseenHosts = gone.count
        leases = fleet.leases.map(LeaseView.init)
    }

    /// `12 hosts: 10 current, 1 lagging, 1 failed`, of the hosts shown.
    public var summary: String {
        let counts = HostState.allCases.compactMap { state in
            let count = hosts.count { $0.state == state }
            return count == 0 ? nil : "\(count) \(state.rawValue)"
        }
        return "\(hosts.count) \(hosts.count == 1 ? "host" : "hosts")"
            + (counts.isEmpty ? "" : ": " + counts.joined(separator: ", "))
    }

    private static func byName(_ one: FleetHostView, _ other: FleetHostView) -> Bool {
        (one.host, one.workspace) < (other.host, other.workspace)
    }

    private enum CodingKeys: String, CodingKey {
        case app, commits, hosts
        case unseenHosts = "unseen_hosts"
        case leases
    }
}
