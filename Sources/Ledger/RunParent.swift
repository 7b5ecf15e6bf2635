/// What a run was made for, by kind and id.
public struct RunParent: Hashable, Sendable {
    /// A kind of a later agent is kept as it came.
    public struct Kind: RawRepresentable, Hashable, Sendable {
        public var rawValue: String

        public init(rawValue: String) {
            self.rawValue = rawValue
        }

        public static let deployment = Kind(rawValue: "deployment")
    }

    public var kind: Kind
    public var id: Int64

    public init(kind: Kind, id: Int64) {
        self.kind = kind
        self.id = id
    }

    public static func deployment(_ id: Int64) -> RunParent { RunParent(kind: .deployment, id: id) }

    /// SQL for the runs of deployments, whatever they are of.
    package static let isDeployment = "runs.parent_kind = 'deployment'"
}
