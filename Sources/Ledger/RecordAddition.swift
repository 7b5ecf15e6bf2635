/// What a page added to a record.
public struct RecordAddition: Sendable, Equatable {
    public var deployments = 0
    public var runs = 0
    public var notifications = 0
    /// Deployments that were there already.
    public var skipped = 0
    /// Deployments for which there is no id before those of newer ones of their workspace: they would become its newest, and
    /// what it runs now would be deployed again.
    public var leftOut = 0
    /// Runs whose originals are not there yet.
    public var adoptions: [RecordPage.Adoption] = []

    public init() {}
}
