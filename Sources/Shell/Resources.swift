import CAgentShims
import Glibc
import Threads

/// Finds out whether there is a thread and a number of descriptors at this moment: for a library that ends the process where
/// it gets none.
///
/// - Throws: `ShellError` `resources`.
package func expectResources(descriptors: Int32, for operation: String) async throws(ShellError) {
    guard agent_has_descriptors(descriptors) == 1 else {
        throw ShellError(.resources, operation: operation, explanation: "no descriptor: \(errorText(errno))")
    }
    do {
        try await onDedicatedThread("trial") {}
    } catch {
        throw ShellError(.resources, operation: operation, explanation: "\(error)")
    }
}
