import Git
import Ledger
import Settings

extension CheckOutcome {
    /// What a check that ended with an error came to.
    ///
    /// - Parameters:
    ///   - mask: takes secrets out of a text.
    ///   - retryAt: when a remote that refused is asked again; nil at the next check.
    init(of error: any Error, mask: (String) -> String, retryAt: (GitError) -> Timestamp?) {
        switch error {
        case let error as SettingsError: self = .misconfigured(error)
        case let error as LedgerError where error.code == .unsuitable:
            self = .misconfigured(
                SettingsError(Setting.ledgerURL.name, mask(error.description), source: .fallback))
        // One that was replaced is opened anew by the next check.
        case let error as LedgerError:
            self = .ledgerFailed(mask(error.description), isTransient: error.isTransient || error.code == .replaced)
        case let error as GitError:
            let text = mask(error.description)
            switch error.code {
            case .notACheckout:
                self = .misconfigured(SettingsError(Setting.workspacePath.name, text, source: .fallback))
            case .publish, .obstructed, .signature: self = .failed(text)
            case .stopped: self = .stopped
            default:
                self = .unreachable(
                    text, error.code.isPermanent ? .permanent : .transient, retryAt: retryAt(error))
            }
        default: self = .failed(mask("\(error)"))
        }
    }
}
