import Crypto

/// Tells whether a command that bears a known id is still the same.
package enum CommandDigest {
    /// SHA-256 as 64 hexadecimal digits, over `run`, `folder`, then each variable's name and value in the order of the
    /// names' bytes; each text as `<bytes>:<text>,` (https://cr.yp.to/proto/netstrings.txt), so that no two commands make
    /// the same input.
    ///
    /// Records hold it: another form would take every command for a changed one.
    package static func hex(run: String, folder: String, environment: [String: String]) -> String {
        var input: [UInt8] = []
        input.reserveCapacity(run.utf8.count + folder.utf8.count + 32)
        func append(_ text: String) {
            input += "\(text.utf8.count):".utf8
            input += text.utf8
            input.append(UInt8(ascii: ","))
        }
        append(run)
        append(folder)
        for (name, value) in environment.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
            append(name)
            append(value)
        }
        var hash = SHA256()
        input.withUnsafeBytes { hash.update(bufferPointer: $0) }
        return hex(hash.finalize())
    }

    private static func hex(_ digest: SHA256.Digest) -> String {
        String(unsafeUninitializedCapacity: 2 * SHA256.byteCount) { buffer in
            for (index, byte) in digest.enumerated() {
                buffer[2 * index] = digit(byte >> 4)
                buffer[2 * index + 1] = digit(byte & 15)
            }
            return 2 * SHA256.byteCount
        }
    }

    private static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }
}
