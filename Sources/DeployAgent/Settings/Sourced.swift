/// A value and where it came from.
struct Sourced<Value> {
    var value: Value
    var source: SettingSource
}

extension Sourced: Sendable where Value: Sendable {}
