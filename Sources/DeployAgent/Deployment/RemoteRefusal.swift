import Execution
import Git
import Ledger

/// A remote that refused where asking again soon does not help, and how long it is left alone.
struct RemoteRefusal {
    let error: GitError
    let until: Timestamp
    private let basis: RemoteGit.Basis
    private let failures: Int

    /// - Parameter before: the refusal before this one.
    init(_ error: GitError, _ basis: RemoteGit.Basis, after before: RemoteRefusal?, interval: Duration) {
        self.error = error
        self.basis = basis
        failures = (before?.basis == basis ? before?.failures ?? 0 : 0) + 1
        let pause =
            error.retryAfter.map { min($0, Self.longestAsked) }
            ?? Backoff.delay(afterFailures: failures + 1, interval: interval)
        until = Timestamp.now.advanced(by: pause)
    }

    /// A server may ask for more patience (`Retry-After`) than we have of our own, but not for ever.
    private static let longestAsked = Duration.seconds(3600)

    /// Whether it still counts: with other credentials the answer may be another.
    func holds(for basis: RemoteGit.Basis, at now: Timestamp = .now) -> Bool { self.basis == basis && now < until }
}

/// What refused is left alone for a time: the remote itself, or another one that a commit needs (a submodule's, say).
struct RemoteRefusals {
    enum Subject: Hashable {
        case remote
        /// One that no ref needs to point to.
        case commit(String)
        case content(commit: String, CommitContent.Options)
    }

    private var all: [Subject: RemoteRefusal] = [:]

    /// Asks, unless what is asked is left alone.
    ///
    /// - Parameter isPoll: any other trigger asks whatever came before.
    /// - Throws: the earlier refusal's error, or that of `ask`.
    mutating func asking<Answer>(
        _ subject: Subject, _ basis: RemoteGit.Basis, isPoll: Bool, interval: Duration, _ ask: () async throws -> Answer
    ) async throws -> Answer {
        if isPoll, let refusal = all[subject], refusal.holds(for: basis) { throw refusal.error }
        // One commit at a time is asked for.
        if subject != .remote { all = all.filter { $0.key == .remote || $0.key == subject } }
        do {
            let answer = try await ask()
            all[subject] = nil
            return answer
        } catch let error as GitError
            where error.code.isPermanent || error.code == .throttled || error.retryAfter != nil
        {
            all[subject] = RemoteRefusal(error, basis, after: all[subject], interval: interval)
            throw error
        } catch {
            all[subject] = nil
            throw error
        }
    }

    /// When it is asked again; nil for an error that no remote is left alone for.
    func retryAt(after error: GitError) -> Timestamp? {
        all.values.first { $0.error.description == error.description }?.until
    }
}
