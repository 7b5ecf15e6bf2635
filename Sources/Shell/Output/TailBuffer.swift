/// Keeps the last bytes of a stream. Resident memory grows with what came in, up to the capacity.
struct TailBuffer {
    let capacity: Int
    private var storage: [UInt8] = []
    /// Where the next byte goes once the storage is full.
    private var cursor = 0
    /// Bytes that came in since the last reset.
    private(set) var total = 0

    init(capacity: Int) {
        self.capacity = capacity
    }

    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        total += bytes.count
        var rest = bytes.count > capacity ? UnsafeRawBufferPointer(rebasing: bytes.suffix(capacity)) : bytes
        let room = capacity - storage.count
        if room > 0 {
            // At once: growing bit by bit would hold the old storage beside the new one. What is not written to is not resident.
            if storage.isEmpty { storage.reserveCapacity(capacity) }
            let taken = min(room, rest.count)
            storage.append(contentsOf: rest.prefix(taken))
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(taken))
        }
        while !rest.isEmpty {
            let taken = min(capacity - cursor, rest.count)
            storage.withUnsafeMutableBytes { target in
                UnsafeMutableRawBufferPointer(rebasing: target[cursor..<(cursor + taken)])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: rest.prefix(taken)))
            }
            cursor = (cursor + taken) % capacity
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(taken))
        }
    }

    /// The bytes in the order in which they came, in at most two pieces.
    func forEachPiece(_ body: (UnsafeRawBufferPointer) -> Void) {
        storage.withUnsafeBytes { bytes in
            if cursor < bytes.count { body(UnsafeRawBufferPointer(rebasing: bytes[cursor...])) }
            if cursor > 0 { body(UnsafeRawBufferPointer(rebasing: bytes[..<cursor])) }
        }
    }
}
