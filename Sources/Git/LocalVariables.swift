/// The variables by which a git at work tells what it starts, which repository it is at work in.
///
/// Where the agent is started by one (a git hook, an alias, `rebase --exec`), programs that mean another repository must
/// not get them: their git would work in that one.
public enum LocalVariables {
    /// What `git rev-parse --local-env-vars` lists in whatever version, and what it leaves out: a namespace of refs, the
    /// quarantine of a push, the tree that attributes come from.
    public static let names: Set<String> = [
        "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_ATTR_SOURCE", "GIT_COMMON_DIR", "GIT_CONFIG", "GIT_CONFIG_COUNT",
        "GIT_CONFIG_PARAMETERS", "GIT_DIR", "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE", "GIT_INDEX_FILE",
        "GIT_INTERNAL_SUPER_PREFIX", "GIT_NAMESPACE", "GIT_NO_REPLACE_OBJECTS", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX",
        "GIT_QUARANTINE_PATH", "GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_WORK_TREE",
    ]

    /// Configuration that somebody has given by the environment; a git adds none to it by itself.
    private static let configuration = ["GIT_CONFIG_COUNT=", "GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"].map {
        Array($0.utf8)
    }

    /// The environment without them.
    ///
    /// `GIT_CONFIG_COUNT` and what belongs to it are the operator's and stay. Below a git they go with the rest, as git
    /// itself has it between two repositories.
    /// - Parameter environment: `KEY=VALUE` entries.
    public static func removed(from environment: [[UInt8]]) -> [[UInt8]] {
        let kept = environment.filter { entry in
            configuration.contains { entry.starts(with: $0) }
                || !names.contains(String(decoding: entry.prefix { $0 != UInt8(ascii: "=") }, as: UTF8.self))
        }
        guard kept.count < environment.count else { return kept }
        return kept.filter { entry in !configuration.contains { entry.starts(with: $0) } }
    }
}
