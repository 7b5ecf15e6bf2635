/// A run as it is moved from one record to another.
public struct CopiedRun: Sendable {
    public var run: Run
    /// The end of what it printed.
    public var outputTail: String
    /// How often the hook had failed in the series of attempts when it had ended.
    public var failures: Int
    /// The marker of the run whose result it took over; nil when there is none, or it is no longer on record.
    public var original: String?

    public init(run: Run, outputTail: String, failures: Int, original: String?) {
        self.run = run
        self.outputTail = outputTail
        self.failures = failures
        self.original = original
    }
}
