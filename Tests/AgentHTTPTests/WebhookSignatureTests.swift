import HTTPTypes
import NIOCore
import Testing

@testable import AgentHTTP

@Suite struct WebhookSignatureTests {
    private let secret = "It's a Secret to Everybody"
    private let body = ["Hello, ", "", "World!"].map { ByteBuffer(string: $0) }
    /// GitHub's published example.
    private let signature = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

    private func isValid(_ headers: [(String, String)]) throws -> Bool {
        var fields = HTTPFields()
        for (name, value) in headers { fields[try #require(HTTPField.Name(name))] = value }
        guard var signature = WebhookSignature(fields, secret: secret) else { return false }
        body.forEach { signature.update($0) }
        return signature.isValid
    }

    @Test(
        "every host's way to show that it knows the secret",
        arguments: [
            ("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
            ("X-Gitea-Signature", "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
            ("X-Forgejo-Signature", "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
            ("X-Gitlab-Token", "It's a Secret to Everybody"),
        ])
    func valid(name: String, value: String) throws {
        #expect(try isValid([(name, value)]))
    }

    @Test(
        "anything else is refused",
        arguments: [
            ("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e18"),
            ("X-Hub-Signature-256", "sha256="), ("X-Hub-Signature-256", ""), ("X-Hub-Signature-256", "sha256=zz"),
            ("X-Hub-Signature", "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59"),
            ("X-Gitlab-Token", "It's a Secret"), ("X-Gitlab-Token", ""), ("X-Other", "It's a Secret to Everybody"),
        ])
    func invalid(name: String, value: String) throws {
        #expect(try !isValid([(name, value)]))
    }

    @Test("a wrong signature is not made good by a right token beside it")
    func both() throws {
        #expect(try !isValid([("X-Hub-Signature-256", "sha256=" + signature.reversed()), ("X-Gitlab-Token", secret)]))
    }
}

@Suite struct PushTests {
    private func read(_ text: String, _ type: String? = "application/json") -> Push? {
        Push(ByteBuffer(string: text), contentType: type)
    }

    @Test(
        "a push concerns the followed branch or tag, without one the remote's default branch",
        arguments: [
            ("refs/heads/main", "main", true), ("refs/tags/v1", "v1", true),
            ("refs/heads/main", "refs/heads/main", true),
            ("refs/heads/other", "main", false), ("refs/heads/x/main", "main", false),
            ("refs/heads/trunk", nil, true), ("refs/heads/main", nil, false),
        ] as [(String, String?, Bool)])
    func concerns(ref: String, followed: String?, expected: Bool) throws {
        for key in ["repository", "project"] {
            let push = try #require(read("{\"ref\":\"\(ref)\",\"\(key)\":{\"default_branch\":\"trunk\"},\"x\":[1]}"))
            #expect(push.concerns(followed, found: "main") == expected)
        }
    }

    @Test("where it does not say what the default branch is, it concerns the one that was found there last")
    func found() throws {
        let push = try #require(read("{\"ref\":\"refs/heads/main\"}"))
        #expect(push.concerns(nil, found: "main") && push.concerns(nil, found: nil))
        #expect(!push.concerns(nil, found: "trunk") && !push.concerns("trunk", found: "main"))
    }

    @Test("both of GitHub's content types are read, anything else is no push")
    func contentTypes() {
        #expect(
            read("payload=%7B%22ref%22%3A%22refs%2Fheads%2Fa%22%7D&x=1", "application/x-www-form-urlencoded")?.ref
                == "refs/heads/a")
        for text in ["", "{}", "[]", "{\"ref\":1}", "payload="] { #expect(read(text) == nil) }
    }
}

@Suite struct WebhookBodyTests {
    private func body(_ parts: [Int], budget: ByteBudget) throws -> WebhookBody {
        let token = try #require(HTTPField.Name("X-Gitlab-Token"))
        let signature = try #require(WebhookSignature([token: "s3cret"], secret: "s3cret"))
        var body = WebhookBody(signature, budget: budget)
        for count in parts { body.append(ByteBuffer(repeating: 0x20, count: count)) }
        return body
    }

    @Test(
        "a body is kept whole or not at all",
        arguments: [
            ([], 0), ([1], 1), ([1024, 1024], 2048), ([1024 * 1024], 1024 * 1024), ([1024 * 1024, 1], nil),
            ([1024 * 1024 + 1], nil), ([1024 * 1024, 1, 1], nil),
        ] as [([Int], Int?)])
    func kept(parts: [Int], expected: Int?) throws {
        let body = try body(parts, budget: ByteBudget(limit: .max / 2))
        let (kept, count, isSigned) = (body.kept?.readableBytes, body.count, body.isSigned)
        #expect(kept == expected)
        #expect(count == parts.reduce(0, +))
        #expect(isSigned)
    }

    @Test("what is kept is bounded over all; a body that has gone gives its share back")
    func bounded() throws {
        let budget = ByteBudget(limit: 100)
        func sizes(_ first: [Int], _ second: [Int]) throws -> [Int?] {
            let first = try body(first, budget: budget)
            let second = try body(second, budget: budget)
            return [first.kept?.readableBytes, second.kept?.readableBytes]
        }
        #expect(try sizes([60], [40]) == [60, 40])
        #expect(try sizes([60], [30, 20]) == [60, nil])
        // The first one gives up its share at once.
        #expect(try sizes([60, 60], [100]) == [nil, 100])
        #expect(try sizes([100], []) == [100, 0])
    }
}

@Suite struct DeliveriesTests {
    @Test("an id is new once; only the last ones are remembered")
    func kept() {
        let deliveries = Deliveries(kept: 3)
        #expect(
            ["a", "b", "a", "c", "d", "b", "a"].map(deliveries.isNew) == [true, true, false, true, true, false, true])
    }
}
