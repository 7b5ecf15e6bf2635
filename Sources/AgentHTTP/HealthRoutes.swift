import DeployAgent
import Hummingbird
import Ledger

/// `GET /dev_health`, `/livez`, `/readyz`.
struct HealthRoutes: Sendable {
    let vitals: Vitals

    private struct Health: ResponseEncodable {
        var status: String
        var service = "dev-container"
        var timestamp = Timestamp.now.rfc3339
    }

    struct Answer: ResponseEncodable {
        var status: String
        var reason: String?
        var errorKind: ErrorKind?

        enum CodingKeys: String, CodingKey {
            case status, reason
            case errorKind = "error_kind"
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(status, forKey: .status)
            try container.encode(reason, forKey: .reason)
            try container.encode(errorKind?.rawValue, forKey: .errorKind)
        }
    }

    func add(to router: Router<BasicRequestContext>) {
        router.add(.get, "/dev_health") { _, _ in Health(status: "ok") }
        router.add(.get, "/livez") { _, _ in livez(vitals.snapshot) }
        router.add(.get, "/readyz") { _, _ in readyz(vitals.snapshot) }
    }

    /// Whether the check loop lives. Says nothing of the remote: that would have a platform restart the app for it.
    func livez(_ vitals: Vitals.Snapshot) -> EditedResponse<Answer> {
        guard SuspendingClock.now < vitals.aliveUntil else {
            return refused("the check loop has not shown itself for longer than it should")
        }
        return EditedResponse(response: Answer(status: "ok"))
    }

    /// Whether the current commit's deployment succeeded.
    private func readyz(_ vitals: Vitals.Snapshot) -> EditedResponse<Answer> {
        switch vitals.readiness {
        case .starting: return refused("starting", vitals.lastError)
        case .failed(let reason): return refused(reason, vitals.lastError)
        case .ready where vitals.isStale(at: .now):
            return refused(
                "no successful check since \(vitals.lastSuccessfulCheck?.rfc3339 ?? "the start")", vitals.lastError)
        case .ready: return EditedResponse(response: Answer(status: "ok"))
        }
    }

    private func refused(_ reason: String, _ kind: ErrorKind? = nil) -> EditedResponse<Answer> {
        EditedResponse(
            status: .serviceUnavailable, response: Answer(status: "unavailable", reason: reason, errorKind: kind))
    }
}
