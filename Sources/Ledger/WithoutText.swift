/// How something ended, without what was printed and said: for a store that does not take that text. An end that is never on
/// record keeps a host from going on.
extension LedgerEntry {
    package var withoutText: LedgerEntry {
        switch self {
        case .completeRun(let run, let result): .completeRun(run, result.withoutText)
        case .abandonRun(let run, let result): .abandonRun(run, result.withoutText)
        case .adoptRun(let draft, let original, let end): .adoptRun(draft, of: original, end.withoutText)
        case .completeDeployment(let deployment, let result): .completeDeployment(deployment, result.withoutText)
        default: self
        }
    }
}

extension ClaimResult {
    package var withoutText: ClaimResult {
        var copy = self
        copy.result = result.withoutText
        return copy
    }
}

/// Of characters that every store has.
private let replacement = "(the record does not take this text; the run's log file has it)"

extension RunResult {
    fileprivate var withoutText: RunResult {
        var copy = self
        if !outputTail.isEmpty { copy.outputTail = replacement }
        copy.end = end.withoutText
        return copy
    }
}

extension RunEnd {
    fileprivate var withoutText: RunEnd {
        var copy = self
        if errorMessage != nil { copy.errorMessage = replacement }
        return copy
    }
}

extension DeploymentResult {
    fileprivate var withoutText: DeploymentResult {
        var copy = self
        if errorMessage != nil { copy.errorMessage = replacement }
        if tasks?.error != nil { copy.tasks?.error = replacement }
        return copy
    }
}
