/// Time between a failure and the next attempt: interval·2^(n−1) after the nth, at most 10 minutes.
package enum Backoff {
    package static let longest = Duration.seconds(600)

    package static func delay(afterFailures failures: Int, interval: Duration) -> Duration {
        var delay = interval
        for _ in 1..<max(1, min(failures, 64)) where delay < longest { delay *= 2 }
        return min(delay, longest)
    }
}
