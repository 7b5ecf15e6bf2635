import Foundation
import Shell
import TestSupport

/// What is loaded into the agent and all that it starts: `Tests/Preload/preload.c`.
enum Preload {
    private static let built = Task {
        let library = packageRoot + "/.build/preload.so"
        // The compiler is the one that came with Swift.
        let made = try await shell(
            "clang -O1 -shared -fPIC -o '\(library).$$' Tests/Preload/preload.c && mv '\(library).$$' '\(library)'",
            in: packageRoot, environment: ["PATH": ProcessInfo.processInfo.environment["PATH"] ?? ""])
        guard made.verdict.isSuccess else { throw PreparationFailed(made.output) }
        return library
    }

    /// Path of the library, for `LD_PRELOAD`.
    static var library: String {
        get async throws { try await built.value }
    }
}
