/// Finds names that look like a setting, a key or a subcommand but are none.
public enum NearMiss {
    /// The setting that a name most likely means; nil when it is one, or resembles none.
    package static func setting(for name: String) -> String? {
        guard !Setting.knownNames.contains(name), name.utf8.count >= 8 else { return nil }
        let upper = name.uppercased()
        let candidates = Setting.knownNames.map { ($0, distance(upper, $0)) }.filter {
            $0.1 <= (upper.utf8.count >= 14 ? 2 : 1)
        }
        return candidates.min { $0.1 != $1.1 ? $0.1 < $1.1 : $0.0 < $1.0 }?.0
    }

    /// The key that a key of a file most likely means, or the subcommand; nil when it resembles none.
    public static func key(for name: String, among known: [String]) -> String? {
        let name = name.lowercased()
        let nearest = known.map { ($0, distance(name, $0)) }.filter { $0.1 <= (name.utf8.count >= 5 ? 2 : 1) }
            .min { $0.1 < $1.1 }?.0
        // Another form of the same word: `retry`, `environment`.
        return nearest ?? known.first { name.hasPrefix($0.prefix(4)) }
    }

    /// Insertions, deletions, replacements and swaps of neighbours that lead from one to the other
    /// (optimal string alignment).
    package static func distance(_ a: String, _ b: String) -> Int {
        let (a, b) = (Array(a.utf8), Array(b.utf8))
        if abs(a.count - b.count) > 2 { return 3 }
        var rows = [Array(0...b.count)]
        for i in 1...max(1, a.count) where i <= a.count {
            var row = [i]
            for j in 1...max(1, b.count) where j <= b.count {
                var best = min(row[j - 1] + 1, rows[i - 1][j] + 1, rows[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1))
                if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] { best = min(best, rows[i - 2][j - 2] + 1) }
                row.append(best)
            }
            rows.append(row)
        }
        return rows[a.count][b.count]
    }
}
