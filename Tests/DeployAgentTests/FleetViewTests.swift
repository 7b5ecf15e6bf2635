import Foundation
import Ledger
import Testing

@testable import DeployAgent

/// What `agent fleet` shows of a fleet.
@Suite struct FleetViewTests {
    private func view(_ hosts: [Fleet.Host], leases: [HeldLease] = [], all: Bool = false) -> FleetView {
        FleetView(app: "shop", Fleet(hosts: hosts, leases: leases), all: all) {
            $0.replacingOccurrences(of: "s3cret", with: "***")
        }
    }

    private func json(_ view: some Encodable) throws -> [String: Any] {
        try #require(JSONSerialization.jsonObject(with: JSONEncoder().encode(view)) as? [String: Any])
    }

    private let day = Duration.seconds(86_400)

    @Test("a summary counts the hosts by state, and hosts unseen for a day are folded away unless asked for")
    func summary() {
        let hosts = [
            Fleet.Host.sample("web10", target: "x", since: 1, commit: "x", unseenFor: day),
            .sample("web3", target: "x", since: 1, commit: "x", last: .failed),
            .sample("web1", target: "x", since: 1, commit: "x"),
            .sample("web2", target: "x", since: 1, commit: "w"),
            .sample("web4", target: "x", since: 1, commit: "x"),
            .sample("web0", target: "x", since: 1, commit: "x", unseenFor: day * 3),
        ]
        let folded = view(hosts)
        #expect(folded.summary == "4 hosts: 2 current, 1 lagging, 1 failed")
        #expect(folded.hosts.map(\.host) == ["web1", "web2", "web3", "web4"])
        #expect(folded.unseenHosts == 2)
        let all = view(hosts, all: true)
        #expect(all.summary == "6 hosts: 2 current, 1 lagging, 1 failed, 2 gone")
        #expect(all.hosts.map(\.host) == ["web1", "web2", "web3", "web4", "web0", "web10"])
        #expect(all.unseenHosts == 2)
        #expect(view([]).summary == "0 hosts")
        #expect(view([hosts[2]]).summary == "1 host: 1 current")
    }

    @Test("absent values are null and keys are always there")
    func keys() throws {
        let document = try json(view([.sample("web1", ref: nil, target: nil, since: nil, commit: nil)]))
        #expect(Set(document.keys) == ["app", "commits", "hosts", "unseen_hosts", "leases"])
        let host = try #require((document["hosts"] as? [[String: Any]])?.first)
        #expect(
            Set(host.keys) == [
                "host", "workspace", "ref", "commit", "target", "is_lagging", "state", "last_deployment",
                "last_outcome", "last_error", "last_seen", "unseen_ms",
            ])
        for key in ["ref", "commit", "target", "last_deployment", "last_error"] {
            #expect(host[key] is NSNull, "\(key)")
        }
        #expect(host["state"] as? String == "current")
        #expect(host["is_lagging"] as? Bool == false)
        #expect(host["last_seen"] as? String == "1970-01-01T00:00:01.000Z")
        #expect(host["unseen_ms"] as? Int == 5000)
        let head = try #require(
            (try json(view([.sample("a", ref: nil, target: "x", since: 1, commit: nil)]))["commits"]
                as? [[String: Any]])?.first)
        #expect(head["ref"] is NSNull)
        #expect(head["commit"] as? String == "x")
    }

    @Test("secrets in what a host says of itself are masked")
    func secrets() throws {
        var host = Fleet.Host.sample("web1", ref: "s3cret-ref", target: "x", since: 1, commit: nil, last: .failed)
        host.presence.problem = "https://u:s3cret@h: refused"
        host.lastDeployment?.result?.errorMessage = "PRE_DEPLOY failed: s3cret"
        let text = String(decoding: try JSONEncoder().encode(view([host])), as: UTF8.self)
        #expect(!text.contains("s3cret"))
        #expect(text.contains("PRE_DEPLOY failed: ***"))
    }

    @Test("a lease that has expired has a negative time left")
    func leases() throws {
        let lease = HeldLease(
            name: "PRE_DEPLOY", fence: 7, host: "web1", commit: "x", run: 34, acquiredAt: Timestamp(milliseconds: 0),
            remaining: .milliseconds(-1500))
        let shown = try #require((try json(view([], leases: [lease]))["leases"] as? [[String: Any]])?.first)
        #expect(Set(shown.keys) == ["name", "fence", "host", "commit", "run", "acquired_at", "expires_in_ms"])
        #expect(shown["expires_in_ms"] as? Int == -1500)
        #expect(shown["fence"] as? Int == 7)
    }
}
