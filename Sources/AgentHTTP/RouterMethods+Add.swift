import HTTPTypes
import Hummingbird

extension RouterMethods {
    /// Adds the one method that a path answers. The others are refused with 405 and what is allowed (RFC 9110, 15.5.6);
    /// HEAD goes with GET, by the router's own option.
    func add(
        _ method: HTTPRequest.Method, _ path: RouterPath,
        use handler: @concurrent @Sendable @escaping (Request, Context) async throws -> some ResponseGenerator
    ) {
        on(path, method: method, use: handler)
        let allowed: [HTTPRequest.Method] = method == .get ? [.get, .head] : [method]
        let allow = allowed.map(\.rawValue).joined(separator: ", ")
        for other: HTTPRequest.Method in [.get, .head, .post, .put, .patch, .delete, .options]
        where !allowed.contains(other) {
            on(path, method: other) { _, _ -> Response in
                throw HTTPError(.methodNotAllowed, headers: [.allow: allow], message: "allowed: \(allow)")
            }
        }
    }
}
