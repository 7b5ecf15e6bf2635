import Crypto
import DeployAgent
import Foundation
import HTTPTypes
import Hummingbird
import Ledger
import Log
import NIOCore
import Settings

/// `/api/v1`: the same JSON as the command line's, for whoever has the token. Without a token none of it exists.
struct APIRoutes: Sendable {
    let session: AgentSession
    let inForce: InForce
    let bell: TriggerBell

    private var reader: RecordReader { RecordReader(session: session, inForce) }

    func add(to router: Router<BasicRequestContext>) {
        guard let token = session.settings.http.apiToken else { return }
        let api = router.group("/api/v1").add(middleware: BearerToken(token: token))
        api.add(.get, "/status") { _, _ in try json(await reader.status()) }
        api.add(.get, "/deployments") { request, _ in try await deployments(request.uri.queryParameters) }
        api.add(.get, "/deployments/:id") { _, context in try await deployment(context.parameters.get("id") ?? "") }
        api.add(.get, "/tasks") { _, _ in
            try json(try await TaskReader(session: session, inForce.ledger).list())
        }
        api.add(.get, "/fleet") { request, _ in try await fleet(request.uri.queryParameters) }
        api.add(.get, "/runs/:id/log") { _, context in try await log(context.parameters.get("id") ?? "") }
        api.add(.post, "/check") { _, _ in
            bell.ring(.manual)
            return try json(["status": "accepted"], .accepted)
        }
        api.add(.post, "/retry") { request, _ in try await retry(request.uri.queryParameters) }
    }

    private func deployments(_ query: Parameters) async throws -> Response {
        let limit = query.get("limit").map { Int($0) ?? 0 } ?? 20
        guard (1...1000).contains(limit) else {
            throw HTTPError(.badRequest, message: "limit takes a whole number from 1 to 1000")
        }
        let status = query.get("status")
        let known = status.flatMap { DeploymentStatus(rawValue: String($0)) }
        guard status == nil || known != nil else {
            throw HTTPError(
                .badRequest,
                message: "status takes \(DeploymentStatus.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        let reader = reader
        let found = try await reader.history(
            limit: limit, commit: query.get("commit").map { String($0) }, status: known,
            allHosts: try flag("all_hosts", in: query))
        return try json(found.map(reader.view))
    }

    private func deployment(_ id: String) async throws -> Response {
        guard let found = try await reader.find(id, isOwn: true) else {
            throw HTTPError(.notFound, message: "no such deployment")
        }
        return try json(await reader.viewWithRuns(found))
    }

    private func fleet(_ query: Parameters) async throws -> Response {
        let all = try flag("all", in: query)
        do {
            return try json(await reader.fleet(all: all))
        } catch let error as SettingsError {
            throw HTTPError(.notFound, message: error.description)
        }
    }

    /// A parameter that is `true` or `false`; false when it is not there.
    private func flag(_ name: String, in query: Parameters) throws -> Bool {
        guard let text = query.get(name) else { return false }
        guard let value = Bool(text) else { throw HTTPError(.badRequest, message: "\(name) takes true or false") }
        return value
    }

    private func log(_ id: String) async throws -> Response {
        guard let number = Int64(id), let run = try await reader.run(number), reader.isOwn(run) else {
            throw HTTPError(.notFound, message: "no such run")
        }
        // Masked when it was written. The file may be gone with its disk; the record keeps the end.
        let file = reader.logPath(run).flatMap { FileManager.default.contents(atPath: $0) }
        let text = if let file { file } else { Data(session.log.mask(try await reader.outputTail(run)).utf8) }
        return Response(
            status: .ok, headers: [.contentType: "text/plain; charset=utf-8"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: text)))
    }

    private func retry(_ query: Parameters) async throws -> Response {
        let reader = reader
        guard let last = try await reader.retry(query.get("commit").map { String($0) }) else {
            throw HTTPError(.notFound, message: "nothing to retry: no such commit has failed")
        }
        return try json(reader.view(try await reader.find("\(last.id)") ?? last))
    }

    private func json(_ value: some Encodable, _ status: HTTPResponse.Status = .ok) throws -> Response {
        Response(
            status: status, headers: [.contentType: "application/json; charset=utf-8"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: try jsonBody(value))))
    }
}

/// Lets through who sends `Authorization: Bearer TOKEN` (RFC 6750).
private struct BearerToken: RouterMiddleware {
    typealias Context = BasicRequestContext
    let token: SecretText

    @concurrent
    func handle(
        _ request: Request, context: BasicRequestContext,
        next: @concurrent (Request, BasicRequestContext) async throws -> Response
    ) async throws -> Response {
        // Read afresh, so that a rotated token needs no restart. Digests are compared, in constant time.
        guard let token = token.current(), let sent = request.headers[.authorization].flatMap(Self.token),
            SHA256.hash(data: Data(sent.utf8)) == SHA256.hash(data: Data(token.utf8))
        else {
            throw HTTPError(.unauthorized, headers: [.wwwAuthenticate: "Bearer"], message: "a bearer token is needed")
        }
        return try await next(request, context)
    }

    /// The token of an `Authorization` header; the scheme's name is case-insensitive (RFC 9110, 11.1).
    private static func token(_ header: String) -> Substring? {
        let scheme = header.prefix { $0 != " " }
        guard scheme.lowercased() == "bearer" else { return nil }
        return header[scheme.endIndex...].drop { $0 == " " }
    }
}
