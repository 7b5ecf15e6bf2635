import Testing

@testable import Git

struct CurlTraceTests {
    /// As git prints it.
    private func lines(_ headers: [String]) -> [Substring] {
        (["Connected to git.example.org (192.0.2.1) port 443 (#0)"].map {
            "22:59:10.620879 http.c:725              == Info: \($0)"
        }
            + headers.map { "22:59:10.621837 http.c:684              <= Recv header: \($0)" }
            + ["fatal: unable to access 'https://git.example.org/x.git/': The requested URL returned error: 429"])
            .map { Substring($0) }
    }

    @Test(
        "what a server that is too busy asks for is read from the answer that came last",
        arguments: [
            (["HTTP/1.1 429 Too Many Requests", "Retry-After: 120"], Duration.seconds(120)),
            (["HTTP/2 503 ", "server: x", "retry-after: 0"], .seconds(0)),
            (["HTTP/2 401", "retry-after: 3", "HTTP/2 429", "retry-after:60"], .seconds(60)),
            (["HTTP/1.1 503 Busy", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT"], .seconds(80)),
            (["HTTP/1.1 503 Busy", "Retry-After: Wed, 21 Oct 2015 07:20:00 GMT"], .seconds(0)),
            (["HTTP/1.1 429 Too Many Requests"], nil),
            (["HTTP/2 503", "retry-after: Wed, 21 Okt 2015 07:20:00 GMT"], nil),
            (["HTTP/1.1 429 x", "Retry-After: soon"], nil),
            (["HTTP/1.1 429 x", "Retry-After: -1"], nil),
            (["HTTP/1.1 429 x", "Retry-After: 99999999999"], .seconds(Int32.max)),
            (["HTTP/1.1 302 Found", "Retry-After: 5"], nil),
            (["HTTP/1.1 429 x", "Retry-After: 5", "HTTP/1.1 200 OK"], nil), ([], nil),
        ])
    func retryAfter(headers: [String], expected: Duration?) {
        var trace = CurlTrace()
        for line in lines(headers) { _ = trace.takes(line) }
        #expect(trace.retryAfter(now: 1_445_412_400) == expected)
    }

    @Test("its lines are told from git's")
    func told() {
        var trace = CurlTrace()
        var taken: [Bool] = []
        for line in lines(["HTTP/2 200"]) { taken.append(trace.takes(line)) }
        #expect(taken == [true, true, false])
        for line in ["", "22:59", "remote: 22:59:10.621837 http.c", "22:59:10.62183x http.c:684  <= Recv header: a"] {
            let isTaken = trace.takes(Substring(line))
            #expect(!isTaken)
        }
    }

    @Test("however much of it there is, git's last words and the server's wish are kept")
    func long() {
        let errors = ErrorLines()
        func say(_ text: String) { Array(text.utf8).withUnsafeBytes { errors.receive($0) } }
        let filler = lines(["x-filler: " + String(repeating: "x", count: 1000)])[1]
        say("remote: first\n")
        for _ in 0..<3000 { say("\(filler)\n") }
        for line in lines(["HTTP/2 429", "retry-after: 40 "]).dropLast() { say("\(line)\r\n") }
        say("fatal: la")
        say("st")
        errors.finish()
        #expect(errors.lines == ["remote: first", "fatal: last"] && errors.retryAfter == .seconds(40))
    }
}
