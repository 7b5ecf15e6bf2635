/// Reads from what git, curl and ssh say (in English, `LC_ALL=C`) why a remote could not be used.
///
/// Their exit codes do not tell the reasons apart. What is in no list counts as what may be better next time.
enum RemoteFailure {
    static func code(of message: String, isOnThisMachine: Bool) -> GitError.Code {
        for (code, texts) in table where texts.contains(where: message.contains) {
            // What is no repository yet may be a volume that is mounted later.
            return code == .missingRepository && isOnThisMachine ? .unreachable : code
        }
        return .unreachable
    }

    /// Whether a server may have refused what was asked for, and not failed.
    static func mayBeRefusal(_ message: String) -> Bool {
        ![
            "returned error: 5", "Could not resolve", "Failed to connect", "unable to connect", "onnection refused",
            "onnection timed out", "onnection reset", "early EOF", "RPC failed", "Operation too slow",
            "the remote end hung up unexpectedly", "unable to look up",
        ].contains(where: message.contains)
    }

    private static let table: [(GitError.Code, [String])] = [
        (
            .untrusted,
            [
                // ssh
                "Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED",
                // curl with GnuTLS, with OpenSSL
                "server certificate verification failed", "SSL: no alternative certificate subject name",
                "SSL: certificate subject name", "SSL certificate problem", "Problem with the SSL CA cert",
            ]
        ),
        (.throttled, ["The requested URL returned error: 429", "Rate limit exceeded"]),
        (
            .denied,
            [
                "Authentication failed for", "could not read Username", "could not read Password",
                "The requested URL returned error: 401", "The requested URL returned error: 403", "Permission denied (",
                "Too many authentication failures", "Authorization error:", "CONNECT tunnel failed, response 40",
                "Received HTTP code 407 from proxy", "The requested URL returned error: 407",
            ]
        ),
        (
            .missingRepository,
            [
                "does not appear to be a git repository", "Repository or object not found:", "Repository not found",
                "repository not exported",
                "access denied or repository not exported", "' not found", "The requested URL returned error: 404",
                "The project you were looking for could not be found", "is not a git command", "' not allowed",
            ]
        ),
        (.unsupported, ["mismatched algorithms", "does not support algorithm"]),
        (.gitMissing, ["cannot run ssh", "ssh: not found", "ssh: command not found"]),
    ]
}
