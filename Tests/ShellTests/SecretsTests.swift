import Testing

@testable import Shell

@Suite struct SecretsTests {
    @Test("the empty text is no secret")
    func empty() {
        #expect(Secrets([""]).mask("abc") == "abc")
    }

    @Test(
        "the short lines of a secret of several lines count only together",
        arguments: [
            ("a\nb\nc", "a b c", "a b c"), ("a\nb\nc", "x a\nb\nc x", "x *** x"),
            ("{\n\"key\": \"longer line\"\n}", "  \"key\": \"longer line\"\n}", "  ***\n}"),
        ])
    func lines(secret: String, text: String, expected: String) {
        #expect(Secrets([secret]).mask(text) == expected)
    }

    @Test(
        "a secret with white space at its ends is hidden also without it; one of white space alone is none",
        arguments: [
            ("hunter2\n", "x hunter2 .", "x *** ."), (" pw\t", "pw pw", "*** ***"), (" \n", "a b\n", "a b\n"),
            ("hunter2\n", "token: hunter2\nnext\n", "token: ***\nnext\n"), ("\npw", "a\nb\n", "a\nb\n"),
        ])
    func whiteSpaceAtTheEnds(secret: String, text: String, expected: String) {
        #expect(Secrets([secret]).mask(text) == expected)
    }

    @Test(
        "where backslash and n stand for the ends of lines the lines count, too, besides the whole",
        arguments: [
            (
                "-----BEGIN-----\\nMIIEabcdefgh\\n-----END-----\\n",
                "-----BEGIN-----\\nMIIEabcdefgh\\n-----END-----\\n", "***"
            ),
            (
                "-----BEGIN-----\\nMIIEabcdefgh\\n-----END-----\\n", "-----BEGIN-----\nMIIEabcdefgh\n-----END-----\n",
                "***\n"
            ),
            ("-----BEGIN-----\\r\\nMIIEabcdefgh\\r\\n", "  MIIEabcdefgh\r\n", "  ***\r\n"),
            ("a\\nb", "a b\\n a\nb a\\nb", "a b\\n *** ***"),
            ("{\n \"key\": \"first-line\\nsecond-line\\n\"\n}", "first-line second-line", "first-line ***"),
        ])
    func writtenLines(secret: String, text: String, expected: String) {
        #expect(Secrets([secret]).mask(text) == expected)
    }

    @Test(
        "a secret that is too short for a text to be read without it is known",
        arguments: [("abc", true), ("abcd", false)])
    func short(secret: String, isShort: Bool) {
        #expect(Secrets([secret, "longer"]).areShort == isShort)
        #expect(!Secrets().areShort)
    }

    @Test("what is learnt later is hidden as well, and a longer secret whole")
    func learnt() {
        var secrets = Secrets(["abc", "one1"])
        secrets.insert(["abcdef"])
        secrets.formUnion(Secrets(["two2", "one1"]))
        #expect(secrets.mask("abcdef abc one1 two2 three") == "*** *** *** *** three")
    }

    @Test(
        "a text in which nothing is secret comes back unchanged", arguments: ["", "é €\n", "\u{0}\u{7F}", "a@b: c://"])
    func unchanged(text: String) {
        #expect(Secrets(["s3cr3t"]).mask(text) == text)
    }
}
