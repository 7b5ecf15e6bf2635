import CAgentShims

/// The mark of a run that its processes cannot lose by accident: a number among their resource limits.
///
/// `RLIMIT_LOCKS` limits nothing since Linux 2.4.25 (getrlimit(2)), yet every process inherits it, over fork and exec,
/// into a new session and with an emptied environment. Its soft value is set around a spawn.
struct LimitMark: Equatable {
    /// What marks begin with: no limit that somebody set has these upper 16 bits.
    private static let signature: UInt64 = 0x2A5F << 48
    /// The limit that this process was started with; another agent's mark where a hook of that one started it.
    private static let inherited = agent_file_locks_limit(0)

    let value: UInt64

    /// The mark of the run with this marker: FNV-1a, 48 bits of it.
    init(marker: String) {
        let hash = marker.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        value = Self.signature | (hash ^ hash >> 48) & 0xFFFF_FFFF_FFFF
    }

    /// The mark that a process has; nil when it has none of ours, or its limits may not be read.
    init?(of pid: Int32) {
        let limit = agent_file_locks_limit(pid)
        guard limit & 0xFFFF << 48 == Self.signature, limit != Self.inherited else { return nil }
        value = limit
    }

    /// Marks what this process spawns from now on. Has no effect where a lower hard limit was set.
    func begin() {
        _ = Self.inherited
        _ = agent_set_file_locks_limit(value)
    }

    /// Ends what `begin` began.
    static func end() {
        _ = agent_set_file_locks_limit(inherited)
    }
}
