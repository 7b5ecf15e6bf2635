import Foundation
import TestSupport
import Testing

@testable import Shell

extension CommandRunnerTests {
    /// What is left of a run whose agent died.
    @Suite(.timeLimit(.minutes(1)))
    struct SurvivorTests {
        /// A run that left a process behind on purpose.
        private func leftBehind(
            _ text: String = "setsid sh -c '\(Script.waiting)' >/dev/null 2>&1 &"
        ) async throws -> Script {
            let script = try Script(text + "\nexit 0")
            #expect(try await script.run().verdict.isSuccess)
            try await script.waitUntilUp()
            return script
        }

        @Test(
            "it is found by the marker alone and ended",
            arguments: [
                "env -i MK=$MK setsid /bin/sh -c '\(Script.waiting)' >/dev/null 2>&1 &",
                "setsid sh -c 'trap \"\" TERM; \(Script.waiting)' >/dev/null 2>&1 &",
                "setsid sh -c ': > up; kill -STOP $$; read x < fifo' >/dev/null 2>&1 &",
            ])
        func byMarker(text: String) async throws {
            let script = try await leftBehind(text)
            defer { script.cleanUp() }
            let result = await endSurvivors(of: ProcessMark(marker: script.command.marker), grace: .milliseconds(200))
            #expect(result.found == 1 && result.survivors.isEmpty && script.living.isEmpty)
        }

        @Test("another run's processes are left alone, also when its marker begins with this one's")
        func otherMarker() async throws {
            let script = try await leftBehind()
            defer { script.cleanUp() }
            for marker in ["another", String(script.command.marker.dropLast())] {
                #expect(await endSurvivors(of: ProcessMark(marker: marker), grace: .milliseconds(100)).found == 0)
            }
            #expect(script.living.count == 1)
        }

        @Test(
            "a process that has the id of the run's own in another boot or container is left alone",
            arguments: [true, false])
        func reusedID(otherBoot: Bool) async throws {
            let script = try await leftBehind()
            defer { script.cleanUp() }
            var mark = ProcessMark(marker: uniqueText(), pid: script.living[0])
            if otherBoot { mark.boot = "another" } else { mark.namespace = "another" }
            #expect(await endSurvivors(of: mark, grace: .milliseconds(100)).found == 0)
            #expect(script.living.count == 1)
        }

        @Test("a mark reads back from its text as it was, with and without a process", arguments: [nil, getpid()])
        func roundTrip(pid: Int32?) {
            let mark = ProcessMark(marker: "0123abc", pid: pid)
            #expect(ProcessMark(text: mark.text) == mark && mark.isOfThisBoot)
        }

        @Test("a text without a marker is no mark", arguments: ["", "pid=12\nstart=3\n", "marker=\n", "garbage"])
        func noMark(text: String) {
            #expect(ProcessMark(text: text) == nil)
        }

        @Test("a process is recognised although its name holds spaces and parentheses")
        func oddName() async throws {
            let script = try Script("cp /bin/sleep 'a) Z 1 (b'; './a) Z 1 (b' 1000 & echo $! > pid; touch up; wait")
            defer { script.cleanUp() }
            let stop = StopSignal()
            async let result = script.run(stop: stop)
            try await script.waitUntilUp()
            let pid = try #require(script.folder.read("pid").flatMap { Int32($0.dropLast()) })
            #expect(
                await eventually {
                    ProcessTable.contents("/proc/\(pid)/comm", limit: 64) == Array("a) Z 1 (b\n".utf8)
                })
            let entry = try #require(ProcessTable.entry(pid))
            #expect(entry.pid == pid && !entry.isZombie && entry.parent == entry.session)
            stop.request()
            _ = try await result
            #expect(script.living.isEmpty)
        }
    }

    /// What a successful command leaves behind on purpose.
    @Suite(.timeLimit(.minutes(1)))
    struct BackgroundTests {
        @Test("it is not ended by the failure of a later command")
        func laterFailure() async throws {
            let script = try Script("sleep 1000 & setsid sh -c '\(Script.waiting)' & exit 0")
            defer { script.cleanUp() }
            #expect(try await script.run().verdict.isSuccess)
            try await script.waitUntilUp()
            #expect(try await Script("exit 1").run().verdict.termination == .exited(1))
            // A process that is just starting its program has no environment to be known by.
            #expect(await eventually { script.living.count == 2 })
        }

        @Test("it does not count as holding the output when it writes elsewhere")
        func redirected() async throws {
            let script = try Script(
                "setsid sh -c '\(Script.waiting)' >/dev/null 2>&1 & until [ -e up ]; do :; done; echo done")
            defer { script.cleanUp() }
            let result = try await script.run()
            #expect(result.verdict.isSuccess && !result.verdict.leftBackground && result.output == "done\n")
            #expect(script.living.count == 1)
        }

        @Test("it is reaped when it ends")
        func reaped() async throws {
            let script = try Script("(sleep 1000 & echo $! > pid); exit 0")
            defer { script.cleanUp() }
            #expect(try await script.run().verdict.isSuccess)
            let pid = try #require(script.folder.read("pid").flatMap { Int32($0.dropLast()) })
            #expect(await eventually { script.living == [pid] })
            script.cleanUp()
            #expect(
                await eventually {
                    reapOrphans()
                    return ProcessTable.entry(pid) == nil
                })
        }
    }
}
