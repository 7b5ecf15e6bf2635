import Execution
import Settings

extension Settings {
    /// What holds for every run.
    var execution: ExecutionSettings {
        var file: String?
        if case .sqlite(let path) = ledger { file = path }
        return ExecutionSettings(
            shell: shell, exports: exports, killGrace: killGrace, interval: interval, recordFile: file)
    }
}
