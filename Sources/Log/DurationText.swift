/// Reads durations as settings give them: `300` (seconds), `300s`, `5m`, `1h30m`, `500ms`.
package enum DurationText {
    private static let units: [(name: String, milliseconds: Int64)] = [
        ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1),
    ]

    /// - Returns: nil when the text is not of that form, is zero or negative, or exceeds 10 years.
    package static func parse(_ text: String) -> Duration? {
        var rest = text[...]
        var total: Int64 = 0
        // Units come from the largest to the smallest, each once.
        var unit = 0
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && $0.isNumber }
            guard !digits.isEmpty, digits.count <= 12, let number = Int64(digits) else { return nil }
            rest = rest.dropFirst(digits.count)
            let name = rest.prefix { $0.isASCII && $0.isLetter }
            rest = rest.dropFirst(name.count)
            if name.isEmpty {
                guard unit == 0, rest.isEmpty else { return nil }
                total = number * 1000
                break
            }
            guard let index = units.indices.dropFirst(unit).first(where: { units[$0].name == name.lowercased() }) else {
                return nil
            }
            let (value, overflow) = number.multipliedReportingOverflow(by: units[index].milliseconds)
            guard !overflow else { return nil }
            total += value
            unit = index + 1
            guard total <= longest else { return nil }
        }
        return total > 0 && total <= longest ? .milliseconds(total) : nil
    }

    private static let longest: Int64 = 10 * 366 * 24 * 3_600_000

    /// The shortest form that reads back as the same duration, for people: `1h30m`, `500ms`.
    package static func text(_ duration: Duration) -> String {
        var rest = duration.components.seconds * 1000 + duration.components.attoseconds / 1_000_000_000_000_000
        guard rest > 0 else { return "0s" }
        var text = ""
        for unit in units where rest >= unit.milliseconds {
            text += "\(rest / unit.milliseconds)\(unit.name)"
            rest %= unit.milliseconds
        }
        return text
    }
}
