import Foundation
import Synchronization

/// nginx with git's own HTTP backend, on two free loopback ports: repositories as a forge serves them, with and without
/// TLS and passwords, and the failures of one.
///
/// Its certificate is for `localhost` and `127.0.0.1`. The one that it shows as `expired.localhost` has expired, and it
/// has none for other names below `localhost`. libcurl resolves all of these by itself.
public final class GitWebServer: Sendable {
    public let httpsPort: Int
    public let httpPort: Int
    private let server: KeptServer
    private let folder: TemporaryFolder
    /// By user, as the file of passwords has them.
    private let hashes: Mutex<[String: String]>

    /// - Parameters:
    ///   - repositories: the folder with the bare repositories.
    ///   - users: the passwords of the private location, by user.
    ///   - base: what `redirectURL` leads below: `openURL("")` of another server, say.
    ///   - largeFiles: who answers for those of all repositories.
    public init(
        serving repositories: String, users: [String: String], redirectingTo base: String = "/nowhere/",
        largeFiles: LargeFileServer? = nil
    ) async throws {
        folder = try TemporaryFolder()
        let path = folder.path
        async let secure = freeLoopbackPort()
        async let plain = freeLoopbackPort()
        async let certificates = Self.makeCertificates(in: path)
        var hashes: [String: String] = [:]
        for (user, password) in users { hashes[user] = try await Self.hash(password) }
        try Self.writePasswords(hashes, in: path)
        self.hashes = Mutex(hashes)
        let backend = try await prepared("git --exec-path", in: path) + "/git-http-backend"
        _ = try await certificates
        httpsPort = try await secure
        httpPort = try await plain
        try folder.write(
            "config",
            """
            daemon off;
            master_process off;
            pid \(path)/nginx.pid;
            error_log \(path)/errors;
            events {}
            http {
                \(["client_body", "fastcgi", "proxy", "scgi", "uwsgi"].map { "\($0)_temp_path \(path)/\($0);" }
                    .joined(separator: " "))
                log_format asked '$request_method $request_uri $status auth=$http_authorization';
                access_log \(path)/access asked;
                map $ssl_server_name $certificate {
                    default server;
                    expired.localhost expired;
                }
                server {
                    listen 127.0.0.1:\(httpPort);
                    listen 127.0.0.1:\(httpsPort) ssl;
                    ssl_certificate \(path)/$certificate.pem;
                    ssl_certificate_key \(path)/server.key;
                    client_max_body_size 0;
                    fastcgi_param SCRIPT_FILENAME \(backend);
                    fastcgi_param GIT_PROJECT_ROOT \(repositories);
                    fastcgi_param GIT_HTTP_EXPORT_ALL 1;
                    fastcgi_param GIT_PROTOCOL $http_git_protocol;
                    fastcgi_param GIT_CONFIG_NOSYSTEM 1;
                    fastcgi_param GIT_CONFIG_COUNT 1;
                    fastcgi_param GIT_CONFIG_KEY_0 safe.directory;
                    fastcgi_param GIT_CONFIG_VALUE_0 *;
                    fastcgi_param PATH_INFO /$name;
                    fastcgi_param REQUEST_METHOD $request_method;
                    fastcgi_param QUERY_STRING $query_string;
                    fastcgi_param CONTENT_TYPE $content_type;
                    fastcgi_param CONTENT_LENGTH $content_length;
                    fastcgi_param REMOTE_USER $remote_user;
                    fastcgi_param REMOTE_ADDR $remote_addr;
                    auth_basic_user_file \(path)/users;
                    \(largeFiles.map { Self.largeFileLocations($0.port) } ?? "")
                    location ~ ^/open/(?<name>.*)$ { fastcgi_pass unix:\(path)/backend; }
                    location ~ ^/private/(?<name>.*)$ { auth_basic private; fastcgi_pass unix:\(path)/backend; }
                    location ~ ^/(?<name>ready)$ { access_log off; fastcgi_pass unix:\(path)/backend; }
                    location ~ ^/redirect/(?<name>.*)$ { return 302 \(base)$name$is_args$args; }
                    # Unlike `return` in its place, `try_files` comes after the look at the password.
                    location ~ ^/private-redirect/(?<name>.*)$ { auth_basic private; try_files /none @redirect; }
                    location @redirect { return 302 \(base)$name$is_args$args; }
                    \(Self.statusLocations)
                }
            }
            """)
        server = try KeptServer(
            ["fcgiwrap -c 8 -s unix:\(path)/backend", "nginx -p \(path) -c \(path)/config"], in: folder)
        let probe = "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:\(httpPort)/ready"
        // The backend's answer; while there is none, nginx says 502.
        try await server.started {
            guard listens(httpPort) else { return false }
            return try await shell(probe).output == "404"
        }
    }

    /// The certificate of the authority that signed the server's.
    public var authorityFile: String { folder.path + "/ca.pem" }

    /// Where a user and a password are needed.
    public func url(_ name: String, host: String = "localhost") -> String {
        "https://\(host):\(httpsPort)/private/\(name)"
    }

    /// The same without TLS.
    public func plainURL(_ name: String) -> String { "http://localhost:\(httpPort)/private/\(name)" }

    /// Where everybody may read.
    public func openURL(_ name: String, host: String = "localhost") -> String {
        "https://\(host):\(httpsPort)/open/\(name)"
    }

    /// The same without TLS.
    public func plainOpenURL(_ name: String) -> String { "http://localhost:\(httpPort)/open/\(name)" }

    /// What leads to the repository of that name below the base of redirects.
    ///
    /// - Parameter isPrivate: whether a user and a password are needed to be led there.
    public func redirectURL(_ name: String, isPrivate: Bool = false) -> String {
        "https://localhost:\(httpsPort)/\(isPrivate ? "private-redirect" : "redirect")/\(name)"
    }

    /// A repository of which every request has that answer.
    ///
    /// - Parameters:
    ///   - status: 401, 403, 404, 429 (with `Retry-After: 7`), 500, 502 or 503.
    ///   - hasText: whether it comes with a text that git shows, `words of the server`, in place of a page that it does
    ///     not show.
    ///   - isPlain: without TLS.
    public func statusURL(_ status: Int, hasText: Bool = false, isPlain: Bool = false) -> String {
        "http\(isPlain ? "" : "s")://localhost:\(isPlain ? httpPort : httpsPort)/\(hasText ? "text-status" : "status")/\(status)/up.git"
    }

    /// Changes a password, or adds a user: it counts from the next request on.
    public func setPassword(_ password: String, for user: String) async throws {
        let hash = try await Self.hash(password)
        try hashes.withLock {
            $0[user] = hash
            try Self.writePasswords($0, in: folder.path)
        }
    }

    /// What was asked so far, one line each, `METHOD URI STATUS auth=AUTHORIZATION`, the header as it came and `-` for
    /// none. A line is there a moment after its answer.
    public func requests() -> [String] {
        (folder.read("access") ?? "").split(separator: "\n").map(String.init)
    }

    private static func hash(_ password: String) async throws -> String {
        try await prepared(
            "printf '%s\\n' \"$PASSWORD\" | openssl passwd -apr1 -stdin", in: "/", environment: ["PASSWORD": password])
    }

    private static func writePasswords(_ hashes: [String: String], in folder: String) throws {
        try hashes.map { "\($0.key):\($0.value)\n" }.joined()
            .write(toFile: folder + "/users", atomically: true, encoding: .utf8)
    }

    private static func makeCertificates(in folder: String) async throws -> String {
        try await prepared(
            """
            set -e
            new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "$@" 2>&1; }
            sign() { openssl x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names "$@" 2>&1; }
            new -x509 -subj '/CN=authority of a test' -keyout ca.key -out ca.pem -days 2
            new -subj /CN=localhost -keyout server.key -out request
            echo subjectAltName=DNS:localhost,IP:127.0.0.1 > names
            sign -days 2 -out server.pem
            echo subjectAltName=DNS:expired.localhost > names
            sign -days -1 -out expired.pem
            """, in: folder)
    }

    private static func largeFileLocations(_ port: Int) -> String {
        // What answers of the first kind name, with a token in the URL, needs no password.
        [("private", "objects/batch", "auth_basic private; "), ("(private|open)", "", "")].map {
            location, name, access in
            """
            location ~ ^/\(location)/[^/]+\\.git/info/lfs/\(name) {
                \(access)proxy_pass http://127.0.0.1:\(port);
                proxy_set_header Authorization "";
                proxy_set_header X-Forwarded-Host $http_host;
                proxy_set_header X-Forwarded-Proto $scheme;
            }
            """
        }.joined(separator: "\n")
    }

    private static let statusLocations = [401, 403, 404, 429, 500, 502, 503].map { status in
        let header =
            switch status {
            case 401: "add_header WWW-Authenticate 'Basic realm=\"status\"' always; "
            case 429: "add_header Retry-After 7 always; "
            default: ""
            }
        return """
            location /status/\(status)/ { \(header)return \(status); }
            location /text-status/\(status)/ {
                \(header)default_type text/plain;
                return \(status) "words of the server\\n";
            }
            """
    }.joined(separator: "\n")
}
