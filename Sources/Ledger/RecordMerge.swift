/// Adds a page of another record's deployments to a record: which of them are new, and which ids they get.
///
/// The newest deployment of a workspace is the one with the highest id, so ids keep the order in which things happened: what
/// is added comes after what the workspace has, and before what began on it later.
package struct RecordMerge<Tables: RecordTables> {
    private let tables: Tables
    private var last: RecordIDs
    private var addition = RecordAddition()
    private var adoptions: [RecordPage.Adoption]

    /// Adds a page in the tables' transaction.
    package static func add(_ page: RecordPage, to tables: Tables) throws -> RecordAddition {
        let last = try tables.last()
        var merge = RecordMerge(tables: tables, last: last.raised(to: page.last), adoptions: page.adoptions)
        for entry in page.entries { try merge.add(entry) }
        try merge.adopt()
        if merge.last != last { try tables.advance(to: merge.last) }
        return merge.addition
    }

    /// Adds a page of runs that belong to nothing in the tables' transaction.
    package static func add(_ page: RunPage, to tables: Tables) throws -> RecordAddition {
        let last = try tables.last()
        var merge = RecordMerge(tables: tables, last: last.raised(to: page.last), adoptions: [])
        for run in page.runs { try merge.add(run) }
        if merge.last != last { try tables.advance(to: merge.last) }
        return merge.addition
    }

    private init(tables: Tables, last: RecordIDs, adoptions: [RecordPage.Adoption]) {
        self.tables = tables
        self.last = last
        self.adoptions = adoptions
    }

    private mutating func add(_ entry: RecordEntry) throws {
        var deployment = entry.deployment
        adoptions += entry.runs.compactMap { copied in
            copied.original.map { RecordPage.Adoption(marker: copied.run.marker, original: $0) }
        }
        if let known = try tables.find(deployment.key) {
            // What was copied while it ran, and has ended since, is copied again in its place.
            guard known.isRunning, deployment.status != .running else {
                addition.skipped += 1
                return
            }
            try tables.remove(deployment: known.id)
            deployment.id = known.id
            deployment.series = known.series
        } else {
            guard let id = try freeID(for: entry) else {
                addition.leftOut += 1
                let markers = Set(entry.runs.map(\.run.marker))
                adoptions.removeAll { markers.contains($0.marker) }
                return
            }
            let series = try self.series(of: entry, id: id)
            deployment.id = id
            deployment.series = series
        }
        try tables.insert(deployment)
        addition.deployments += 1
        try add(entry.runs, to: deployment)
        for var notification in entry.notifications {
            notification.deployment = deployment.id
            if try tables.isUsed(notification: notification.id) {
                last.notification += 1
                notification.id = last.notification
            }
            try tables.insert(notification)
            addition.notifications += 1
        }
    }

    /// The id that it has, where that is free and in order, else a new one; nil when there is none in order.
    private mutating func freeID(for entry: RecordEntry) throws -> Int64? {
        let deployment = entry.deployment
        let newest = try tables.newest(deployment.scope, below: nil) ?? 0
        // The other record's own order counts, whatever its clock did; the time only tells what is of neither.
        let before = try entry.before.flatMap { try tables.find($0)?.id } ?? 0
        let later =
            newest > before
            ? try tables.firstLater(deployment.scope, than: deployment.startedAt, after: before) : nil
        let floor = try later.map { try tables.newest(deployment.scope, below: $0) ?? 0 } ?? newest
        if deployment.id > floor, deployment.id < later ?? .max, try !tables.isUsed(deployment: deployment.id) {
            return deployment.id
        }
        guard later == nil else { return nil }
        last.deployment += 1
        return last.deployment
    }

    /// The series of the attempt before it; else its own number, as long as no other series has that.
    private func series(of entry: RecordEntry, id: Int64) throws -> Int64 {
        let deployment = entry.deployment
        if deployment.series == deployment.id { return id }
        if let earlier = try entry.earlierAttempt.flatMap({ try tables.find($0) }) { return earlier.series }
        // Its first attempts are no longer on record.
        if try tables.hasSeries(deployment.series, of: deployment) { return deployment.series }
        return try tables.isUsed(deployment: deployment.series) ? id : deployment.series
    }

    private mutating func add(_ runs: [CopiedRun], to deployment: Deployment) throws {
        guard !runs.isEmpty else { return }
        var floor = try tables.lastRun(deployment.scope, below: deployment.id) ?? 0
        for var copied in runs {
            copied.run.parent = .deployment(deployment.id)
            try place(&copied, above: floor)
            floor = copied.run.id
            if let adopted = copied.run.adopted {
                // None where it is not there, or not yet; never another run's number.
                copied.run.adopted = try copied.original != nil || tables.isUsed(run: adopted) ? nil : adopted
            }
            try tables.insert(copied)
            addition.runs += 1
        }
    }

    /// Gives a run the id that it has, where that is free and above another one, else a new one.
    private mutating func place(_ copied: inout CopiedRun, above floor: Int64) throws {
        guard try copied.run.id <= floor || tables.isUsed(run: copied.run.id) else { return }
        last.run += 1
        copied.run.id = last.run
    }

    /// Adds a run that belongs to nothing.
    private mutating func add(_ run: CopiedRun) throws {
        var copied = run
        if let known = try tables.run(marker: run.run.marker) {
            // What was copied while it ran, and has ended since, is copied again in its place.
            guard try run.run.end != nil && tables.isRunning(run: known) else { return }
            try tables.remove(run: known)
            copied.run.id = known
        } else {
            try place(&copied, above: tables.newestAlone(copied.run.place) ?? 0)
        }
        try tables.insert(copied)
        addition.runs += 1
    }

    private mutating func adopt() throws {
        for adoption in adoptions {
            if let original = try tables.run(marker: adoption.original) {
                try tables.adopt(marker: adoption.marker, original: original)
            } else {
                addition.adoptions.append(adoption)
            }
        }
    }
}
