/// A secret as set: its text, or a file that holds it and may change.
public struct SecretText: Sendable, Equatable {
    package var text: String?
    package var file: String?

    /// The secret as it is now; nil when its file cannot be read or is empty.
    public func current() -> String? {
        guard let file else { return text }
        return Settings.readTokenFile(file)
    }
}
