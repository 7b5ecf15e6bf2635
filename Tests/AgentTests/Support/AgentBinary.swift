import Foundation

/// The built program under test: the one beside the test bundle, or what `AGENT_BIN` names.
let agentBinary: String = {
    if let path = ProcessInfo.processInfo.environment["AGENT_BIN"], !path.isEmpty { return path }
    let executable = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    let beside = (executable as NSString).deletingLastPathComponent + "/agent"
    if FileManager.default.isExecutableFile(atPath: beside) { return beside }
    return packageRoot + "/.build/debug/agent"
}()

/// The folder with `Package.swift`.
let packageRoot: String = {
    var path = #filePath
    for _ in 0..<4 { path = (path as NSString).deletingLastPathComponent }
    return path
}()
