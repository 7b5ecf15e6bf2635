import Ledger
import Testing

@testable import DeployAgent

/// Which commit a fleet is at, and how each of its hosts does.
@Suite struct FleetStandingTests {
    private func state(of host: Fleet.Host, beside others: [Fleet.Host] = []) -> HostState {
        FleetStanding(Fleet(hosts: [host] + others, leases: [])).state(host)
    }

    private func heads(_ hosts: Fleet.Host...) -> [FleetStanding.Head] {
        FleetStanding(Fleet(hosts: hosts, leases: [])).heads
    }

    @Test("the fleet is at what the host has found that saw the ref move last")
    func newest() {
        let hosts = [
            Fleet.Host.sample("a", target: "old", since: 10, commit: "old"),
            .sample("b", target: "new", since: 30, commit: "new"),
            .sample("c", target: "new", since: 20, commit: "old"),
            .sample("d", target: nil, since: nil, commit: nil),
        ]
        let standing = FleetStanding(Fleet(hosts: hosts, leases: []))
        #expect(standing.heads == [.init(ref: "main", commit: "new")])
        #expect(hosts.map(standing.state) == [.lagging, .current, .lagging, .lagging])
        #expect(hosts.map(standing.isLagging) == [true, false, true, true])
    }

    @Test("each followed ref has a commit of its own")
    func refs() {
        let hosts = [
            Fleet.Host.sample("a", ref: "main", target: "m", since: 10, commit: "m"),
            .sample("b", ref: "next", target: "n", since: 90, commit: "n"),
            .sample("c", ref: nil, target: "h", since: 50, commit: "h"),
        ]
        let standing = FleetStanding(Fleet(hosts: hosts, leases: []))
        #expect(
            standing.heads == [
                .init(ref: nil, commit: "h"), .init(ref: "main", commit: "m"), .init(ref: "next", commit: "n"),
            ])
        #expect(hosts.map(standing.state) == [.current, .current, .current])
    }

    @Test("a host that looks no more does not say where the fleet is while another looks")
    func stopped() {
        let looking = Fleet.Host.sample("a", target: "back", since: 10, commit: "back")
        let stopped = Fleet.Host.sample("b", target: "bad", since: 90, commit: "bad", isStopping: true)
        let silent = Fleet.Host.sample("c", target: "worse", since: 95, commit: "bad", unseenFor: .seconds(3600))
        #expect(heads(looking, stopped, silent) == [.init(ref: "main", commit: "back")])
        #expect(heads(stopped, silent) == [.init(ref: "main", commit: "worse")])
    }

    @Test("a host unseen for a day says nothing, and nobody lags behind it")
    func gone() {
        let gone = Fleet.Host.sample("a", target: "x", since: 90, commit: "x", unseenFor: .seconds(86_400))
        #expect(heads(gone).isEmpty)
        #expect(state(of: gone) == .gone)
        let alone = Fleet.Host.sample("b", target: nil, since: nil, commit: "y")
        #expect(state(of: alone, beside: [gone]) == .current)
    }

    @Test("where two saw the ref move at one time, the answer is the same in whatever order they come")
    func ties() {
        let one = Fleet.Host.sample("a", target: "x", since: 10, commit: "x")
        let other = Fleet.Host.sample("b", target: "y", since: 10, commit: "y")
        #expect(heads(one, other) == heads(other, one))
    }

    @Test(
        "the last deployment's status tells, where the host is there",
        arguments: [
            (DeploymentStatus.running, HostState.deploying), (.failed, .failed), (.interrupted, .lagging),
            (.deferred, .lagging),
        ])
    func deployments(_ status: DeploymentStatus, _ expected: HostState) {
        let host = Fleet.Host.sample("a", target: "new", since: 10, commit: "old", last: status)
        #expect(state(of: host) == expected)
        var silent = host
        silent.unseenFor = .seconds(3600)
        #expect(state(of: silent) == .silent)
        var stopped = host
        stopped.presence.isStopping = true
        #expect(state(of: stopped) == .stopped)
    }

    @Test("an interrupted deployment of the fleet's commit on a host that has it already leaves it current")
    func again() {
        let host = Fleet.Host.sample("a", target: "x", since: 10, commit: "x", last: .interrupted)
        #expect(state(of: host) == .current)
    }

    @Test(
        "a host is silent after three intervals and a minute, gone after a day",
        arguments: [
            (30, 150.0, HostState.current), (30, 150.001, .silent), (300, 960, .current), (300, 961, .silent),
            (30, 86_399.999, .silent), (30, 86_400, .gone), (86_400, 86_399, .current), (86_400, 86_400, .gone),
        ])
    func unseen(interval: Int, unseenFor: Double, _ expected: HostState) {
        var host = Fleet.Host.sample("a", target: "x", since: 10, commit: "x", unseenFor: .seconds(unseenFor))
        host.presence.interval = .seconds(interval)
        #expect(state(of: host) == expected)
    }

    @Test("one that ended in order is stopped, not silent, and gone after a day too")
    func ended() {
        var host = Fleet.Host.sample("a", target: "x", since: 10, commit: "x", isStopping: true)
        for (seconds, expected) in [(1, HostState.stopped), (86_399, .stopped), (86_400, .gone)] {
            host.unseenFor = .seconds(seconds)
            #expect(state(of: host) == expected, "\(seconds)")
        }
    }
}

extension Fleet.Host {
    /// A host in which only what a test names differs.
    static func sample(
        _ host: String, ref: String? = "main", target: String?, since: Int64?, commit: String?,
        unseenFor: Duration = .seconds(5), isStopping: Bool = false, last: DeploymentStatus? = nil
    ) -> Fleet.Host {
        let scope = Scope(app: "shop", host: host, workspace: "/w")
        return Fleet.Host(
            presence: Presence(
                scope: scope, instance: host, version: "1", ref: ref, target: target, outcome: "unchanged",
                problem: nil, interval: .seconds(30), isStopping: isStopping),
            lastSeen: Timestamp(milliseconds: 1000), unseenFor: unseenFor,
            targetSince: since.map(Timestamp.init(milliseconds:)), commit: commit,
            lastDeployment: last.map { status in
                .sample(
                    id: 7, scope: scope, commit: target ?? "c", ref: ref, series: 7, status, settled: false,
                    published: false)
            })
    }
}
