/// A value and where it came from.
package struct Sourced<Value> {
    package var value: Value
    package var source: SettingSource

    package init(value: Value, source: SettingSource) {
        self.value = value
        self.source = source
    }
}

extension Sourced: Sendable where Value: Sendable {}
