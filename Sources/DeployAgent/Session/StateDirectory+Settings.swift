import Execution
import Settings

extension StateDirectory {
    /// Creates the folders; see `prepare`.
    ///
    /// - Throws: `SettingsError` that names the setting.
    func require(for workspace: String, deploys: Bool = true) throws {
        do {
            try prepare(for: workspace, deploys: deploys)
        } catch let error as StateDirectoryError {
            throw SettingsError(Setting.stateDirectory.name, error.description, source: .fallback)
        }
    }
}
