import Testing

/// What was waited for did not come.
struct WaitedInVain: Error, CustomStringConvertible {
    let description: String
}

/// Looks again until a condition holds.
///
/// - Parameter seconds: generous, since machines that run tests are busy; a test that passes never waits that long.
func until(
    _ what: String, within seconds: Double = 40, sourceLocation: SourceLocation = #_sourceLocation,
    details: () -> String = { "" }, _ condition: () async throws -> Bool
) async throws {
    let limit = ContinuousClock.now + .seconds(seconds)
    while !(try await condition()) {
        guard ContinuousClock.now < limit else {
            Issue.record("waited in vain until \(what) \(details())", sourceLocation: sourceLocation)
            throw WaitedInVain(description: what)
        }
        try await Task.sleep(for: .milliseconds(15))
    }
}
