import HTTPTypes
import NIOCore
import Testing

@testable import AgentHTTP

@Suite struct WebhookSignatureTests {
    private let secret = "It's a Secret to Everybody"
    private let body = ByteBuffer(string: "Hello, World!").readableBytesView
    /// GitHub's published example.
    private let signature = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

    private func isValid(_ headers: [(String, String)]) throws -> Bool {
        var fields = HTTPFields()
        for (name, value) in headers { fields[try #require(HTTPField.Name(name))] = value }
        return WebhookSignature.isValid(fields, body: body, secret: secret)
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
            #expect(push.concerns(followed) == expected)
        }
    }

    @Test("both of GitHub's content types are read, anything else is no push")
    func contentTypes() {
        #expect(
            read("payload=%7B%22ref%22%3A%22refs%2Fheads%2Fa%22%7D&x=1", "application/x-www-form-urlencoded")?.ref
                == "refs/heads/a")
        for text in ["", "{}", "[]", "{\"ref\":1}", "payload="] { #expect(read(text) == nil) }
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
