import Glibc

/// The headers of a server's answers, which git shows only in its trace (`GIT_TRACE_CURL`) on standard error. Secrets in
/// them are replaced by git; no line is ever shown.
struct CurlTrace {
    static let variables = ["GIT_TRACE_CURL=1", "GIT_TRACE_CURL_NO_DATA=1"].map { Array($0.utf8) }

    private var isBusy = false
    private var wish: Substring?

    /// Takes a line that may be one of the trace: `22:59:10.621837 http.c:684              <= Recv header: …`.
    ///
    /// - Returns: whether it is one.
    mutating func takes(_ line: Substring) -> Bool {
        let time = line.utf8.prefix(16)
        let isTrace =
            time.count == 16
            && zip(time, "00:00:00.000000 ".utf8).allSatisfy { byte, form in
                form == UInt8(ascii: "0") ? (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) : byte == form
            }
        guard isTrace else { return false }
        guard let mark = line.firstRange(of: "<= Recv header: ") else { return true }
        let header = line[mark.upperBound...]
        if header.hasPrefix("HTTP/") {
            isBusy = ["429", "503"].contains(header.split(separator: " ").dropFirst().first)
            wish = nil
        } else if isBusy, header.lowercased().hasPrefix("retry-after:") {
            wish = header.drop { $0 != ":" }.dropFirst()
        }
        return true
    }

    /// How long the server that answered last wants to be left alone (RFC 9110, 10.2.3); nil where it does not say.
    ///
    /// - Parameter now: in seconds since 1970, for an answer with a date.
    func retryAfter(now: time_t = time(nil)) -> Duration? {
        guard let fields = wish?.split(whereSeparator: \.isWhitespace), let first = fields.first else { return nil }
        if fields.count == 1, first.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) {
            return .seconds(Int32(first) ?? .max)
        }
        return Self.date(fields).map { .seconds(max(0, $0 - now)) }
    }

    /// Of the one form of dates that servers make: `Wed, 21 Oct 2015 07:28:00 GMT`.
    private static func date(_ fields: [Substring]) -> time_t? {
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        guard fields.count == 6, fields[5] == "GMT", let month = months.firstIndex(where: { $0 == fields[2] }) else {
            return nil
        }
        let numbers = ([fields[1], fields[3]] + fields[4].split(separator: ":")).compactMap { Int32($0) }
        guard numbers.count == 5, (1900...9999).contains(numbers[1]) else { return nil }
        var date = tm()
        (date.tm_mday, date.tm_mon, date.tm_year) = (numbers[0], Int32(month), numbers[1] - 1900)
        (date.tm_hour, date.tm_min, date.tm_sec) = (numbers[2], numbers[3], numbers[4])
        return timegm(&date)
    }
}
