import Synchronization

/// A value that several threads read and set.
package final class Cell<Value: Sendable>: Sendable {
    private let value: Mutex<Value>

    package init(_ value: Value) {
        self.value = Mutex(value)
    }

    package func get() -> Value {
        value.withLock { $0 }
    }

    package func set(_ new: Value) {
        value.withLock { $0 = new }
    }

    /// Sets a value that is not set yet.
    package func setOnce<Wrapped>(_ new: Wrapped) where Value == Wrapped? {
        value.withLock { $0 = $0 ?? new }
    }
}
