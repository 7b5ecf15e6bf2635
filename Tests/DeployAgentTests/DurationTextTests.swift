import Log
import Testing

@testable import DeployAgent
@testable import Settings

@Suite struct DurationTextTests {
    @Test(
        "durations are read in every form that the settings promise",
        arguments: [
            ("300", 300_000), ("300s", 300_000), ("5m", 300_000), ("1h30m", 5_400_000), ("500ms", 500),
            ("1h", 3_600_000),
            ("1m500ms", 60_500), ("007", 7000), ("2H", 7_200_000),
        ])
    func accepted(text: String, milliseconds: Int) {
        #expect(DurationText.parse(text) == .milliseconds(milliseconds))
    }

    @Test(
        "everything else is refused",
        arguments: [
            "", "0", "0s", "-5", "abc", "5x", "m", "1.5h", "5 m", "30m1h", "5m5m", "1h30", "99999999999999", "+5", "５",
            "1e3",
            "999999999h", "ms", "9223372036854775807s",
        ])
    func refused(text: String) {
        #expect(DurationText.parse(text) == nil)
    }

    @Test("a duration is shown in the form in which it is read", arguments: ["5m", "1h30m", "500ms", "1s", "2m1s5ms"])
    func roundTrip(text: String) throws {
        #expect(DurationText.text(try #require(DurationText.parse(text))) == text)
    }

    @Test(
        "retries are unlimited or a whole number",
        arguments: [
            ("unlimited", Retries?.some(.unlimited)), ("Unlimited", .unlimited), ("0", .atMost(0)), ("3", .atMost(3)),
            ("-3", nil), ("+3", nil), ("many", nil), ("1.5", nil), ("", nil),
        ])
    func retries(text: String, expected: Retries?) {
        #expect(Retries(text) == expected)
    }

    @Test(
        "so many retries allow so many failures and one more attempt",
        arguments: [
            (Retries.atMost(0), 1, false), (.atMost(2), 2, true), (.atMost(2), 3, false), (.unlimited, 10_000, true),
        ])
    func budget(retries: Retries, failures: Int, allows: Bool) {
        #expect(retries.allows(afterFailures: failures) == allows)
    }

    @Test(
        "retries are shown in the form in which they are read", arguments: [Retries.unlimited, .atMost(0), .atMost(12)])
    func retriesRoundTrip(retries: Retries) {
        #expect(Retries(retries.text) == retries)
    }
}
