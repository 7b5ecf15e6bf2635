import DeployAgent
import Foundation
import HTTPTypes
import Hummingbird
import Ledger
import NIOCore
import Settings

/// `POST /webhook`: a push to the followed ref shortens the wait for the next check. It decides nothing: what is deployed is
/// asked of the remote.
struct WebhookRoute: Sendable {
    /// GitHub's limit for a payload.
    static let largestBody = 25 * 1024 * 1024

    let settings: HTTPSettings
    let inForce: InForce
    let vitals: Vitals
    let bell: TriggerBell
    private let deliveries = Deliveries(kept: 1000)
    private let budget = ByteBudget(limit: 16 * WebhookBody.keptLimit)

    init(settings: HTTPSettings, inForce: InForce, vitals: Vitals, bell: TriggerBell) {
        self.settings = settings
        self.inForce = inForce
        self.vitals = vitals
        self.bell = bell
    }

    private struct Answer: ResponseEncodable {
        var status: String
    }

    func add(to router: Router<BasicRequestContext>) {
        guard settings.webhookSecret != nil else { return }
        router.add(.post, "/webhook") { request, _ in try await answer(request) }
    }

    private func answer(_ request: Request) async throws -> EditedResponse<Answer> {
        // Read afresh, so that a rotated secret needs no restart.
        guard let secret = settings.webhookSecret?.current() else { return said("unavailable", .serviceUnavailable) }
        let length = request.headers[.contentLength].flatMap { Int($0) } ?? 0
        guard length <= Self.largestBody else { return said("too large", .contentTooLarge) }
        guard let signature = WebhookSignature(request.headers, secret: secret) else {
            return said("not signed", .unauthorized)
        }
        var body = WebhookBody(signature, budget: budget)
        do {
            for try await part in request.body {
                body.append(part)
                guard body.count <= Self.largestBody else { return said("too large", .contentTooLarge) }
            }
        } catch {
            // The server ends what takes too long by closing the connection's way in.
            return said("incomplete", .requestTimeout)
        }
        guard body.isSigned else { return said("bad signature", .unauthorized) }
        if let id = Self.delivery(request.headers), !deliveries.isNew(id) { return said("seen before") }
        let event = Self.event(request.headers)
        if event == "ping" { return said("pong", .ok) }
        guard event == "push" || event == "Push Hook" || event == "Tag Push Hook" else { return said("ignored") }
        // One that was not kept may be of any ref: a check that finds nothing new costs less than a push that is missed.
        if let kept = body.kept {
            guard let push = Push(kept, contentType: request.headers[.contentType]) else {
                return said("not a push", .badRequest)
            }
            guard push.concerns(inForce.settings.followedRef, found: vitals.snapshot.ref) else {
                return said("ignored")
            }
        }
        bell.ring(.webhook)
        return said("accepted")
    }

    private func said(_ text: String, _ status: HTTPResponse.Status = .accepted) -> EditedResponse<Answer> {
        EditedResponse(status: status, response: Answer(status: text))
    }

    private static func delivery(_ headers: HTTPFields) -> String? {
        ["X-GitHub-Delivery", "X-Gitea-Delivery", "X-Forgejo-Delivery", "X-Gitlab-Event-UUID"].lazy
            .compactMap { HTTPField.Name($0) }.compactMap { headers[$0] }.first
    }

    private static func event(_ headers: HTTPFields) -> String? {
        ["X-GitHub-Event", "X-Gitea-Event", "X-Forgejo-Event", "X-Gitlab-Event"].lazy
            .compactMap { HTTPField.Name($0) }.compactMap { headers[$0] }.first
    }
}

/// What of a push's payload counts; the same fields with GitHub, GitLab, Gitea and Forgejo.
struct Push: Decodable, Sendable {
    struct Project: Decodable, Sendable {
        var default_branch: String?
    }

    var ref: String
    var repository: Project?
    /// GitLab's name for it.
    var project: Project?

    /// Nil when the body is no push.
    init?(_ body: ByteBuffer, contentType: String?) {
        var bytes = Data(body.readableBytesView)
        if contentType?.hasPrefix("application/x-www-form-urlencoded") == true {
            // GitHub's other form: `payload=` and the JSON, percent-encoded.
            let text = String(decoding: bytes, as: UTF8.self)
            guard text.hasPrefix("payload="),
                let json = text.dropFirst(8).prefix(while: { $0 != "&" }).replacing("+", with: " ")
                    .removingPercentEncoding
            else { return nil }
            bytes = Data(json.utf8)
        }
        guard let push = try? JSONDecoder().decode(Push.self, from: bytes) else { return nil }
        self = push
    }

    /// Whether it moved what is followed.
    ///
    /// - Parameters:
    ///   - followed: what is set; nil for the remote's default branch.
    ///   - found: name of the branch or tag that was deployed last. The delivery itself knows better what the default branch
    ///     is, where it says so.
    func concerns(_ followed: String?, found: String?) -> Bool {
        guard let followed = followed ?? repository?.default_branch ?? project?.default_branch ?? found else {
            return true
        }
        return ref == followed || ref == "refs/heads/\(followed)" || ref == "refs/tags/\(followed)"
    }
}
