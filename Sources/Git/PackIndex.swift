import Glibc

/// Name of an object: 20 bytes of SHA-1.
struct ObjectName: Hashable {
    private let first: UInt64
    private let second: UInt64
    private let third: UInt32

    init(_ bytes: UnsafeRawBufferPointer) {
        first = bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)
        second = bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
        third = bytes.loadUnaligned(fromByteOffset: 16, as: UInt32.self)
    }

    /// Nil for what does not begin with 40 hexadecimal digits.
    init?(hex line: ArraySlice<UInt8>) {
        guard line.count >= 40 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(20)
        var digits = line.makeIterator()
        while bytes.count < 20, let high = digits.next().flatMap(Self.value),
            let low = digits.next().flatMap(Self.value)
        {
            bytes.append(high << 4 | low)
        }
        guard bytes.count == 20 else { return nil }
        self = bytes.withUnsafeBytes { Self($0) }
    }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        default: nil
        }
    }
}

/// The names of the objects in a pack (gitformat-pack(5), version 2 of its index).
final class PackIndex {
    let count: Int
    private let mapping: UnsafeRawBufferPointer

    private static let header: [UInt8] = [0xff, 0x74, 0x4f, 0x63, 0, 0, 0, 2]
    /// The header, then for each first byte how many names begin with it or a lower one.
    private static let namesOffset = 8 + 256 * 4

    /// Nil where it cannot be read as one.
    init?(path: String) {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var info = stat()
        guard fstat(file, &info) == 0, info.st_size > Self.namesOffset,
            let address = mmap(nil, Int(info.st_size), PROT_READ, MAP_PRIVATE, file, 0), address != MAP_FAILED
        else { return nil }
        mapping = UnsafeRawBufferPointer(start: address, count: Int(info.st_size))
        count = Int(UInt32(bigEndian: mapping.loadUnaligned(fromByteOffset: Self.namesOffset - 4, as: UInt32.self)))
        guard mapping.starts(with: Self.header), mapping.count >= Self.namesOffset + 20 * count else { return nil }
    }

    deinit { munmap(UnsafeMutableRawPointer(mutating: mapping.baseAddress), mapping.count) }

    func forEach(_ body: (ObjectName) -> Void) {
        for number in 0..<count {
            let start = Self.namesOffset + 20 * number
            body(ObjectName(UnsafeRawBufferPointer(rebasing: mapping[start..<start + 20])))
        }
    }
}
