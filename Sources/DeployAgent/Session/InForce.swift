public import Ledger
public import Settings
import Shell

/// What holds at this moment: the settings of the commit looked at last, and the record that they name.
///
/// The check loop sets it; whatever works beside the loop reads it.
public final class InForce: Sendable {
    private let cell: Cell<(settings: Settings, ledger: any LedgerStore)>

    public init(_ settings: Settings, _ ledger: any LedgerStore) {
        cell = Cell((settings, ledger))
    }

    public var settings: Settings { cell.get().settings }
    public var ledger: any LedgerStore { cell.get().ledger }

    /// Whose record it is.
    public var scope: Scope { settings.scope }

    func set(_ settings: Settings, _ ledger: any LedgerStore) {
        cell.set((settings, ledger))
    }
}

extension Settings {
    public var scope: Scope { Scope(app: app, host: host, workspace: workspace) }
}
