extension String {
    package var isBlank: Bool { !Self.isVisible(utf8.first) && allSatisfy(\.isWhitespace) }

    package var trimmingSpace: String {
        if Self.isVisible(utf8.first), Self.isVisible(utf8.last) { return self }
        var text = self[...]
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }

    /// Spares most texts the tables of Unicode.
    private static func isVisible(_ byte: UInt8?) -> Bool { byte.map { (33...126).contains($0) } ?? false }
}
