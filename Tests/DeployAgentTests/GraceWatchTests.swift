import Ledger
import Testing

@testable import DeployAgent

/// When releases are looked at whose time is over.
@Suite struct GraceWatchTests {
    private static func time(_ seconds: Int64) -> Timestamp { Timestamp(milliseconds: seconds * 1000) }

    @Test("it is looked once at the start, and then only after a deployment")
    func looks() {
        var watch = GraceWatch()
        var looks = 0
        func isDue(at seconds: Int64, next: Timestamp?) -> Bool {
            watch.isDue(Self.time(seconds)) {
                looks += 1
                return next
            }
        }
        #expect(!isDue(at: 0, next: nil) && looks == 1)
        for second in 1...100 { #expect(!isDue(at: Int64(second), next: Self.time(0))) }
        #expect(looks == 1)
        watch.deployed()
        #expect(!isDue(at: 101, next: Self.time(110)) && looks == 2)
        #expect(!isDue(at: 109, next: nil) && isDue(at: 110, next: nil) && looks == 2)
        // What was found when they were removed.
        watch.note(Self.time(120))
        #expect(!isDue(at: 119, next: nil) && isDue(at: 121, next: nil) && looks == 2)
        watch.note(nil)
        #expect(!isDue(at: 1000, next: Self.time(0)) && looks == 2)
    }

    @Test("what failed is tried again later, not at each check")
    func failed() {
        var watch = GraceWatch()
        #expect(watch.isDue(Self.time(10)) { Self.time(5) })
        watch.failed(Self.time(10))
        #expect(!watch.isDue(Self.time(11)) { Self.time(5) })
        #expect(watch.isDue(Self.time(10_000)) { nil })
    }
}
