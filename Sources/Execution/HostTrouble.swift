/// Why a command was not started, where that is this host's own trouble (no process to be had, a full disk, no such folder) and
/// says nothing of the command: another host may run it.
package struct HostTrouble: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}
