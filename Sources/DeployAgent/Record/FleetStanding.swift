import Ledger

/// How an app's hosts stand to each other: which commit the fleet is at, and who lags behind.
///
/// Nobody tells the fleet's commit. It is what the host that saw the followed ref move last has found there.
struct FleetStanding {
    /// A followed ref and the commit that was found there last; nil for HEAD.
    struct Head: Equatable {
        var ref: String?
        var commit: String
    }

    /// Unseen for so long, a host is no longer counted.
    static let memory = Duration.seconds(86_400)

    /// One for each ref that is followed, ordered by it.
    let heads: [Head]

    init(_ fleet: Fleet) {
        let seen = fleet.hosts.filter { !Self.isGone($0) && $0.presence.target != nil }
        heads = Dictionary(grouping: seen, by: \.presence.ref).compactMap { ref, hosts in
            // A host that looks no more knows nothing of a ref that was moved back since, so it counts for want of others.
            let looking = hosts.filter { !$0.presence.isStopping && !Self.isSilent($0) }
            let newest = (looking.isEmpty ? hosts : looking).max(by: Self.sawEarlier)
            return newest?.presence.target.map { Head(ref: ref, commit: $0) }
        }.sorted { ($0.ref ?? "") < ($1.ref ?? "") }
    }

    /// Whether the commit deployed successfully last is another than the fleet's.
    func isLagging(_ host: Fleet.Host) -> Bool {
        guard let head = heads.first(where: { $0.ref == host.presence.ref }) else { return false }
        return host.commit != head.commit
    }

    /// What is wrong goes before what is under way: a host that fell silent may have died in a deployment.
    func state(_ host: Fleet.Host) -> HostState {
        if Self.isGone(host) { return .gone }
        if host.presence.isStopping { return .stopped }
        if Self.isSilent(host) { return .silent }
        switch host.lastDeployment?.status {
        case .running: return .deploying
        case .failed: return .failed
        default: return isLagging(host) ? .lagging : .current
        }
    }

    private static func isGone(_ host: Fleet.Host) -> Bool { host.unseenFor >= memory }

    private static func isSilent(_ host: Fleet.Host) -> Bool {
        !host.presence.isStopping && host.unseenFor > host.presence.interval * 3 + .seconds(60)
    }

    /// Orders by when the target was found first; where that is the same, by what makes the answer the same every time.
    private static func sawEarlier(_ one: Fleet.Host, _ other: Fleet.Host) -> Bool {
        let key = { (host: Fleet.Host) in
            (host.targetSince?.milliseconds ?? .min, host.lastSeen.milliseconds, host.presence.target ?? "")
        }
        return key(one) < key(other)
    }
}
