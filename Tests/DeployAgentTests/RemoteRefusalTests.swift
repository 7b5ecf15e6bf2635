import Ledger
import Testing

@testable import DeployAgent
@testable import Git
@testable import Settings

/// How long a remote that refuses is left alone.
struct RemoteRefusalTests {
    private let basis: RemoteGit.Basis = {
        let settings = RemoteSettings(url: "https://git.example.org/shop.git", branch: nil) { $0 }
        return RemoteGit.Basis(
            remote: settings, access: RemoteAccess(), files: [], timeout: .seconds(1), killGrace: .seconds(1))
    }()

    private func error(_ code: GitError.Code, retryAfter: Duration? = nil) -> GitError {
        var error = GitError(code, operation: "ask", explanation: "no")
        error.retryAfter = retryAfter
        return error
    }

    /// Asks once; returns whether it was asked, and when it is asked again.
    private func ask(
        _ refusals: inout RemoteRefusals, _ error: GitError?, _ subject: RemoteRefusals.Subject = .remote,
        isPoll: Bool = true
    ) async -> (isAsked: Bool, retryAt: Timestamp?) {
        var isAsked = false
        do {
            try await refusals.asking(subject, basis, isPoll: isPoll, interval: .seconds(30)) {
                isAsked = true
                if let error { throw error }
            }
            return (isAsked, nil)
        } catch {
            return (isAsked, (error as? GitError).flatMap { refusals.retryAt(after: $0) })
        }
    }

    private func seconds(_ time: Timestamp?) -> Int? { time.map { Int($0.millisecondsSince(.now) + 500) / 1000 } }

    @Test("polls leave it alone, anything else asks; each further refusal doubles the time, another answer ends it")
    func doubles() async {
        var refusals = RemoteRefusals()
        var answer = await ask(&refusals, error(.denied))
        #expect(answer.isAsked && seconds(answer.retryAt) == 60)
        answer = await ask(&refusals, nil)
        #expect(!answer.isAsked && seconds(answer.retryAt) == 60)
        answer = await ask(&refusals, error(.denied), isPoll: false)
        #expect(answer.isAsked && seconds(answer.retryAt) == 120)
        answer = await ask(&refusals, error(.unreachable), isPoll: false)
        #expect(answer.isAsked && answer.retryAt == nil)
        answer = await ask(&refusals, error(.denied))
        #expect(answer.isAsked && seconds(answer.retryAt) == 60)
        answer = await ask(&refusals, nil, isPoll: false)
        #expect(answer.isAsked)
        #expect(await ask(&refusals, nil).isAsked)
    }

    @Test("Retry-After counts as it is, at most an hour; the same error without it is asked about at every check")
    func retryAfter() async {
        for (asked, expected) in [(7, 7), (200, 200), (90_000, 3600)] {
            var refusals = RemoteRefusals()
            for code in [GitError.Code.throttled, .unreachable] {
                let answer = await ask(&refusals, error(code, retryAfter: .seconds(asked)), isPoll: false)
                #expect(seconds(answer.retryAt) == expected)
                #expect(await !ask(&refusals, nil).isAsked)
            }
            let answer = await ask(&refusals, error(.unreachable), isPoll: false)
            #expect(answer.retryAt == nil)
            #expect(await ask(&refusals, nil).isAsked)
        }
    }

    @Test("what one commit needs does not hold up another one, nor the remote; other settings ask anew")
    func content() async {
        var refusals = RemoteRefusals()
        let options = CommitContent.Options(depth: 1, hasSubmodules: true, hasLFS: true)
        #expect(await ask(&refusals, error(.denied), .content(commit: "a", options)).isAsked)
        #expect(await !ask(&refusals, nil, .content(commit: "a", options)).isAsked)
        #expect(await ask(&refusals, nil).isAsked)
        let without = CommitContent.Options(depth: 1, hasSubmodules: false, hasLFS: true)
        #expect(await ask(&refusals, nil, .content(commit: "a", without)).isAsked)
        #expect(await ask(&refusals, nil, .content(commit: "b", options)).isAsked)
    }
}
