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
        until = Timestamp.now.advanced(by: Backoff.delay(afterFailures: failures + 1, interval: interval))
    }

    /// Whether it still counts: with other credentials the answer may be another.
    func holds(for basis: RemoteGit.Basis, at now: Timestamp = .now) -> Bool { self.basis == basis && now < until }
}
