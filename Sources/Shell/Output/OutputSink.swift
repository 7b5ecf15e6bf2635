/// Receives a command's output.
///
/// The calls come one after the other, from one thread at a time that is not of the cooperative pool; a call that
/// blocks holds back the command but not its deadline.
public protocol OutputSink: Sendable {
    /// Takes the next bytes, at most 256 KiB; the buffer is only valid during the call.
    func receive(_ bytes: UnsafeRawBufferPointer)
    /// Says that nothing more comes.
    func finish()
}
