import NIOCore
import Synchronization

/// A delivery's body as it arrives: signed whole, kept as far as it is small and there is room.
struct WebhookBody: ~Copyable {
    /// The largest body that is read for what it says.
    static let keptLimit = 1024 * 1024

    /// All of it; nil once it was too much to be kept.
    private(set) var kept: ByteBuffer? = ByteBuffer()
    /// How many bytes have come.
    private(set) var count = 0
    private var signature: WebhookSignature
    private let budget: ByteBudget
    /// How much of the budget it holds.
    private var charged = 0

    init(_ signature: WebhookSignature, budget: ByteBudget) {
        self.signature = signature
        self.budget = budget
    }

    deinit {
        budget.giveBack(charged)
    }

    /// Whether its sender knows the secret.
    var isSigned: Bool { signature.isValid }

    mutating func append(_ part: ByteBuffer) {
        signature.update(part)
        count += part.readableBytes
        guard kept != nil else { return }
        guard count <= Self.keptLimit, budget.take(part.readableBytes) else {
            kept = nil
            budget.giveBack(charged)
            charged = 0
            return
        }
        charged += part.readableBytes
        kept?.writeImmutableBuffer(part)
    }
}

/// Bounds how many bytes of bodies are held at once.
final class ByteBudget: Sendable {
    private let left: Mutex<Int>

    init(limit: Int) {
        left = Mutex(limit)
    }

    /// Whether so many were to be had.
    func take(_ count: Int) -> Bool {
        left.withLock { left in
            guard left >= count else { return false }
            left -= count
            return true
        }
    }

    func giveBack(_ count: Int) {
        left.withLock { $0 += count }
    }
}
