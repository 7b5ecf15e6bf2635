/// Looks until a condition holds, at most so long; returns whether it came to hold.
///
/// For what another process does and cannot announce. Ends with the condition, so the limit costs nothing when all is well.
public func eventually(
    within limit: Duration = .seconds(20), _ condition: () async throws -> Bool
) async rethrows -> Bool {
    let deadline = ContinuousClock.now + limit
    while ContinuousClock.now < deadline {
        if try await condition() { return true }
        try? await Task.sleep(for: .milliseconds(10))
    }
    return try await condition()
}
