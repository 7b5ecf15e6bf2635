import CAgentShims
import Glibc
package import Ledger
import Shell

/// A piece of work's name on this machine, taken while it is done; it ends with the process.
///
/// Beside the lease, for a record that is a file: where that is removed or replaced, whoever opens it now knows nothing of the
/// leases in the old one.
package final class WorkName: Sendable {
    private let claim: Int32

    private init(_ claim: Int32) { self.claim = claim }

    deinit { close(claim) }

    package enum Answer {
        /// - name: nil where there are no such names.
        case mine(WorkName?)
        case taken
    }

    /// - Parameter file: the record's.
    package static func take(_ request: ClaimRequest, file: String) -> Answer {
        // With the device: containers that share a network may have files of their own at the same path.
        let path = canonicalPath(file)
        var info = stat()
        _ = stat(String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]) + "/", &info)
        let record = StateDirectory.hash("\(info.st_dev):\(path)")
        var pid: Int32 = 0
        var user: uid_t = 0
        let claim = agent_claim_name(
            "deploy-agent-work:\(record):\(StateDirectory.hash("\(request.owner)/\(request.work)"))", &pid, &user)
        if claim >= 0 { return .mine(WorkName(claim)) }
        // Somebody who could not write to the record keeps nobody from it.
        let isHeld = errno == EADDRINUSE && (user == 0 || user == getuid())
        return isHeld ? .taken : .mine(nil)
    }
}
