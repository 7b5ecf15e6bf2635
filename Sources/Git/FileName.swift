/// A file's name, or its path below some folder, as the kernel and git have it: any bytes but NUL.
///
/// Never compared as text: two names that Unicode holds to be the same, or that are no UTF-8 at all, are two files.
struct FileName: Hashable {
    /// Ends with NUL.
    let bytes: [CChar]

    init(_ bytes: [CChar]) {
        self.bytes = bytes
    }

    /// - Parameter bytes: as git prints them, without NUL.
    init(_ bytes: some Collection<UInt8>) {
        self.bytes = bytes.map { CChar(bitPattern: $0) } + [0]
    }

    init(_ text: String) {
        self.init(text.utf8)
    }

    /// The folder that paths are relative to.
    static let root = FileName("")

    private static let slash = CChar(bitPattern: UInt8(ascii: "/"))

    /// The path of a name in this folder.
    func child(_ name: FileName) -> FileName {
        self == .root ? name : FileName(bytes.dropLast() + [Self.slash] + name.bytes)
    }

    /// The path of the folder that it lies in; nil when that is the root.
    var parent: FileName? {
        bytes.lastIndex(of: Self.slash).map { FileName(bytes[..<$0] + [0]) }
    }

    /// Its last part.
    var name: FileName {
        bytes.lastIndex(of: Self.slash).map { FileName(Array(bytes[($0 + 1)...])) } ?? self
    }

    /// Whether it lies in `folder`, however deep.
    func isInside(_ folder: FileName) -> Bool {
        let length = folder.bytes.count - 1
        return bytes.count > length + 1 && bytes[length] == Self.slash && bytes.starts(with: folder.bytes.dropLast())
    }

    /// Without the NUL at the end.
    var content: [UInt8] { bytes.dropLast().map { UInt8(bitPattern: $0) } }

    /// For messages and for names known to be text.
    var text: String { String(decoding: content, as: UTF8.self) }

    func hash(into hasher: inout Hasher) {
        bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
    }
}

extension [UInt8] {
    /// The entries of a list that ends each with NUL.
    var entriesEndingInNUL: [ArraySlice<UInt8>] { split(separator: 0) }
}
