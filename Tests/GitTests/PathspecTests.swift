import TestSupport
import Testing

@testable import Git

@Suite(.timeLimit(.minutes(1)))
struct PathspecTests {
    private static let files = [
        "README.md", "docs/a.md", "docs/deep/b.md", "docs2/c.md", "src/app.swift", "src/App.swift", "src/db/1.sql",
        "1.sql",
        "db/migrations/001.sql", "db/migrations/notes.txt", "a b.txt", "#hash", "!bang", "we[i]rd", "wei",
        "package.json",
        "web/package.json", "a/b/c.txt", "a/x/b/y/b/z/c.txt", "a/b/x/b/c.txt", "src/deep/app.swift", "sapp.swift",
        "a.txt", "1", "[1x", "]x", "\u{e4}.txt", "*star", "x/*star", "docs",
        "back\\slash",
    ].filter { $0 != "docs" }

    private static let lists = [
        ["docs"], ["docs/"], ["docs/*"], ["*.sql"], ["db/**/*.sql"], ["src/*.sql"], ["**/*.sql"], ["README.md", "src"],
        [":/docs"],
        [":(top)docs"], ["*", ":!docs"], [":!docs"], [":^docs", ":!*.sql"], [":(exclude)docs/deep", "docs"],
        [":(icase)SRC/APP.swift"], [":(icase)*.SQL"], ["SRC/app.swift"], [":(literal)*star"], ["*star"], ["we[i]rd"],
        [":(literal)we[i]rd"], ["we[[]i]rd"], ["#hash"], ["!bang"], [":(top,icase,exclude)readme.md", "*.md"], ["."],
        ["./src"], ["?.sql"], ["[0-9].sql"], ["db/migrations"], ["db/migr"], ["package.json"], ["*package.json"], [":"],
        ["*/a.md"], ["docs/*/b.md"], ["docs/?.md"], ["nothing"], [":/!docs", "docs"], ["src/"], ["src/app.swift/"],
        ["docs", ":!docs"], [":(glob)**/*.sql"], [":(glob)*.sql"], [":(glob)db/**/*.sql"], [":(glob)src/**"],
        [":(glob)**/docs/**"], [":(glob)**/b.md"], [":(glob)docs"], [":(glob)doc*"], [":(glob)docs/*"],
        [":(glob)docs/"],
        [":(glob)**"], [":(glob)docs/**/b.md", ":(glob,exclude)**/a.md"], [":(glob,icase)**/APP.SWIFT"],
        [":(glob,icase)SRC"], [":(glob)src/[aA]pp.*"], [":(glob)db/**/**/*.txt"], [":(glob)**/package.json"],
        [":(glob)s**/app.swift"], [":(glob)src/***"], [":(glob)./src/*"], [":(glob)"], [":(glob)x/\\*star"],
        [":(glob)we[i]rd"], [":(glob)a?b.txt"], [":(glob)src?app.swift"], [":(glob)**/*/*.sql"],
        [":(glob)src/**/app.swift"],
        [":(glob)**/1.sql/**"], [":(glob)a/**/b/**/c.txt"], [":(glob)a/**/b/*/c.txt"], [":(glob)src/*/"],
        [":(glob)doc**"], [":(glob)s**"], [":(glob)docs**/b.md"], [":(glob)s**.swift"], [":(glob)[a/b].txt"],
        [":(glob)a\\/b/c.txt"], [":(glob)docs//a.md"], [":(glob)docs/./a.md"], ["docs//a.md"], ["docs/./deep"], ["./"],
        [":(glob)[wx]e[[i]rd"], [":(glob)[!a-r]*.swift"], [":(glob)[^a-r]*.swift"], [":(glob)[[:digit:]].sql"],
        [":(glob)[[:nothing:]].sql"], [":(glob,icase)[[:upper:]]RC/*"], [":(glob,icase)[r]EADME.[K-N]?"],
        [":(glob)[1*"],
        [":(glob)[]1]*"], [":(glob)[\\#]*"], [":(glob)[z-a]*"], [":(glob)*\\"], [":(glob)**/d*/**/*.md"],
        [":(glob)*/*"],
        [":(glob)*a*/*.m*d"], [":(glob)**a/*"], [":(glob)***/b.md"], [":(glob)db/*a*i*n*s/*0*1*"],
        [":(glob)?rc/?pp.swift"],
        [":(glob)src[/]app.swift"], [":(glob)src[!x]app.swift"], [":(glob)web/**"], [":(glob)web/**/"],
    ]

    @Test("pathspecs match what git's own match")
    func likeGit() async throws {
        let upstream = try await Upstream()
        let base = try await upstream.commit([:])
        let commit = try await upstream.commit(Dictionary(uniqueKeysWithValues: Self.files.map { ($0, "x") }))
        let changed = try await Repository(path: upstream.path).changedFiles(from: base, to: commit)
        #expect(changed.paths.count == Self.files.count)
        for specs in Self.lists {
            let quoted = specs.map { "'\($0)'" }.joined(separator: " ")
            let expected = try await upstream.run(
                "git diff -z --name-only \(base) \(commit) -- \(quoted)", in: upstream.path)
            let matcher = Pathspec.Matcher(try specs.map { try #require(Pathspec($0)) })
            let found = changed.paths.filter(matcher.matches).map { String(decoding: $0, as: UTF8.self) }
            #expect(found.sorted() == expected.split(separator: "\0").map(String.init).sorted(), "\(specs)")
            #expect(changed.contain(specs.compactMap(Pathspec.init)) == !found.isEmpty, "\(specs)")
        }
    }

    @Test(
        "magic that is not known, nothing at all, and what leads outside is no pathspec",
        arguments: ["", "../x", "..", ":(icase)../x", ":(attr:x)a", ":(glob,literal)a", ":(top", ":%a", "a\0b"])
    func refused(text: String) {
        #expect(Pathspec(text) == nil)
    }
}
