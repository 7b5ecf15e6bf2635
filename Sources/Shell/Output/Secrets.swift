/// Values that must appear nowhere. Wherever one stands, and wherever a URL holds a password, `***` is written instead.
public struct Secrets: Sendable, CustomStringConvertible, CustomReflectable {
    /// Longest first, so that a secret that contains another is replaced whole.
    private(set) var values: [[UInt8]] = []

    public static let replacement = "***"
    /// How many bytes a secret needs so that texts in which it is replaced can still be read.
    public static let shortest = 4

    /// Whether any is shorter than that.
    public var areShort: Bool { values.last.map { $0.count < Self.shortest } ?? false }

    /// Whoever prints a value that holds this one prints none of them, and no list of their bytes either.
    public var description: String { "\(values.count) secrets" }
    public var customMirror: Mirror { Mirror(self, children: []) }

    public init() {}

    public init(_ texts: some Sequence<String>) {
        insert(texts)
    }

    /// Adds values, each without the white space at its ends: shells and programs drop it, and the end of a line belongs to
    /// whatever is printed. Blank texts are none. Of a text of several lines each line of 8 bytes and more counts by itself
    /// too, since programs print such texts indented or line by line; also where the two characters `\n` stand for the ends
    /// of lines, as in a key that was put into one line.
    public mutating func insert(_ texts: some Sequence<String>) {
        var all = Set(values)
        for text in texts {
            let unfolded = text.replacing("\\r\\n", with: "\n").replacing("\\n", with: "\n")
            for text in unfolded == text ? [text] : [text, unfolded] {
                let trimmed = Self.trimmed(text.utf8)
                guard !trimmed.isEmpty else { continue }
                all.insert(Array(trimmed))
                for line in trimmed.split(whereSeparator: { $0 == 10 || $0 == 13 }) where line.count >= 8 {
                    all.insert(Array(line))
                }
            }
        }
        values = Self.ordered(all)
    }

    private static func trimmed(_ text: String.UTF8View) -> Substring.UTF8View {
        func isSpace(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }
        guard let first = text.firstIndex(where: { !isSpace($0) }), let last = text.lastIndex(where: { !isSpace($0) })
        else { return text[text.endIndex...] }
        return text[first...last]
    }

    /// Adds the values of another set.
    public mutating func formUnion(_ other: Secrets) {
        let all = Set(values).union(other.values)
        guard all.count != values.count else { return }
        values = Self.ordered(all)
    }

    private static func ordered(_ values: Set<[UInt8]>) -> [[UInt8]] {
        values.sorted { $0.count != $1.count ? $0.count > $1.count : $0.lexicographicallyPrecedes($1) }
    }

    /// The text with every secret replaced.
    public func mask(_ text: String) -> String {
        var result: [UInt8] = []
        var masker = Masker(self)
        var text = text
        text.withUTF8 { masker.push(UnsafeRawBufferPointer($0)) { result.append(contentsOf: $0) } }
        masker.finish { result.append(contentsOf: $0) }
        return String(decoding: result, as: UTF8.self)
    }
}
