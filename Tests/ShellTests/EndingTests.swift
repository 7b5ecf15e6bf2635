import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Shell

extension CommandRunnerTests {
    @Suite(.timeLimit(.minutes(1)))
    struct EndingTests {
        @Test(
            "a stop ends also what is hard to catch",
            arguments: [
                ("stopped, ignores SIGTERM", "sh -c 'trap \"\" TERM; touch up; kill -STOP $$' & exec sleep 1000"),
                (
                    "daemon without environment",
                    "(env -i MK=$MK PATH=$PATH setsid sh -c \"sh -c 'touch up; exec sleep 1000' & exit 0\"); sleep 1000"
                ),
                (
                    "starts more when told to end",
                    "trap 'setsid sleep 1000 &' TERM; touch up; while :; do sleep 0.1; done"
                ),
                ("many children", "for i in 1 2 3 4 5 6 7 8 9 10; do setsid sleep 1000 & done; touch up; wait"),
            ])
        func stop(name: String, text: String) async throws {
            let script = try Script(text)
            defer { script.cleanUp() }
            let stop = StopSignal()
            async let result = script.run(stop: stop)
            try await script.waitUntilUp()
            stop.request()
            let verdict = try await result.verdict
            #expect(verdict.cause == .stopped && !verdict.isSuccess && verdict.survivors.isEmpty)
            #expect(script.living.isEmpty)
        }

        @Test("a chain of processes that fork and end at once, again and again, is ended")
        func chain() async throws {
            let fork = "import os, time; t = time.time()\nwhile time.time() < t + 20:\n  if os.fork(): os._exit(0)"
            let script = try Script("(python3 -c '\(fork)' &); touch up; sleep 1000")
            defer { script.cleanUp() }
            let stop = StopSignal()
            async let result = script.run(stop: stop)
            try await script.waitUntilUp()
            stop.request()
            let verdict = try await result.verdict
            #expect(verdict.survivors.isEmpty)
            // What runs is another process at every look: none of many looks may find one.
            for _ in 0..<200 { #expect(script.living.isEmpty) }
        }

        @Test(
            "what a failed command leaves behind is ended wherever it went",
            arguments: [
                "(sleep 1000 &); exit 3",
                "sh -c 'trap \"\" TERM; touch up; while :; do sleep 0.1; done' & until [ -e up ]; do :; done; exit 3",
                "env -i MK=$MK PATH=$PATH setsid sh -c 'touch up; exec sleep 1000' & until [ -e up ]; do :; done; exit 3",
                "sleep 1000 & kill -KILL $$",
            ])
        func leftovers(text: String) async throws {
            let script = try Script(text)
            defer { script.cleanUp() }
            let verdict = try await script.run().verdict
            #expect(verdict.cause == .ended && !verdict.isSuccess && verdict.survivors.isEmpty)
            #expect(script.living.isEmpty)
        }

        @Test("a command that was stopped is no success, even if it then ends with 0")
        func politeEnd() async throws {
            let script = try Script(
                "trap 'echo cleaned up; exit 0' TERM; touch up; while :; do sleep 0.05; done",
                killGrace: .seconds(20))
            defer { script.cleanUp() }
            let stop = StopSignal()
            async let result = script.run(stop: stop)
            try await script.waitUntilUp()
            stop.request()
            let (verdict, output) = try await result
            #expect(output.hasSuffix("cleaned up\n"))
            #expect(verdict.termination == .exited(0) && !verdict.isSuccess)
        }

        @Test("what a trap starts to end in order gets no SIGTERM of its own")
        func cleanUpOfATrap() async throws {
            // Another process ends while it cleans up: then it is looked who else there is.
            let script = try Script(
                "(trap '' TERM; : > ready; read x < fifo) & until [ -e ready ]; do :; done; "
                    + "trap 'sh -c \"echo > fifo; sleep 0.2; echo cleaned up\"; exit 0' TERM; touch up; wait; wait",
                killGrace: .seconds(20))
            defer { script.cleanUp() }
            let stop = StopSignal()
            async let result = script.run(stop: stop)
            try await script.waitUntilUp()
            let requested = ContinuousClock.now
            stop.request()
            #expect(try await result.output == "cleaned up\n")
            #expect(ContinuousClock.now - requested >= .milliseconds(200))
        }

        @Test("SIGKILL comes after the grace, not before")
        func grace() async throws {
            let script = try Script("trap '' TERM; touch up; while :; do sleep 0.05; done")
            defer { script.cleanUp() }
            let stop = StopSignal()
            async let result = script.run(stop: stop)
            try await script.waitUntilUp()
            let requested = ContinuousClock.now
            stop.request()
            #expect(try await result.verdict.termination == .signaled(9))
            #expect(ContinuousClock.now - requested >= script.command.killGrace)
        }

        @Test(
            "an end by a signal that asks to stop counts as the stop's where that comes a moment later",
            arguments: [
                "kill -TERM $$", "kill -INT $$", "kill -HUP $$", "kill -QUIT $$", "exit 143",
                "sh -c 'kill -TERM $$'; exit $?",
            ])
        func stopAfterTheEnd(text: String) async throws {
            var script = try Script(text)
            script.command.stopGrace = .seconds(20)
            let stop = StopSignal()
            let verdict = try await script.run(stop: stop) { mark in
                Thread.detachNewThread {
                    while mark.pid.flatMap(ProcessTable.entry)?.isZombie == false { usleep(1000) }
                    stop.request()
                }
            }.verdict
            #expect(verdict.cause == .stopped && !verdict.isSuccess && verdict.duration < .seconds(15))
        }

        @Test(
            "without a stop it is a failure, and of another end none is waited for",
            arguments: [
                ("kill -TERM $$", Verdict.Termination.signaled(15), Duration.milliseconds(10)),
                ("exit 143", .exited(143), .milliseconds(10)), ("kill -KILL $$", .signaled(9), .seconds(1000)),
                ("exit 1", .exited(1), .seconds(1000)), ("true", .exited(0), .seconds(1000)),
            ])
        func noStop(text: String, termination: Verdict.Termination, stopGrace: Duration) async throws {
            var script = try Script(text)
            script.command.stopGrace = stopGrace
            let verdict = try await script.run(stop: StopSignal()).verdict
            #expect(verdict.cause == .ended && verdict.termination == termination)
        }

        @Test("a stop that was asked for before the start ends the command at once")
        func stopBefore() async throws {
            let stop = StopSignal()
            stop.request()
            let script = try Script("exec sleep 1000")
            defer { script.cleanUp() }
            #expect(try await script.run(stop: stop).verdict.cause == .stopped)
        }

        /// Blocks until it is released.
        private final class StuckSink: OutputSink {
            let released = StopSignal()
            let isReached = Cell(false)

            func receive(_ bytes: UnsafeRawBufferPointer) {
                isReached.set(true)
                var entry = pollfd(fd: released.descriptor, events: Int16(POLLIN), revents: 0)
                _ = poll(&entry, 1, -1)
            }

            func finish() {}
        }

        @Test("a reader of the output that does not read keeps no command from being ended")
        func stuckSink() async throws {
            let script = try Script("touch up; exec yes")
            defer { script.cleanUp() }
            let (sink, stop) = (StuckSink(), StopSignal())
            let command = script.command
            async let verdict = runCommand(command, output: sink, stop: stop)
            try await script.waitUntilUp()
            #expect(await eventually { sink.isReached.get() })
            stop.request()
            #expect(await eventually { script.living.isEmpty })
            sink.released.request()
            #expect(try await verdict.cause == .stopped)
        }
    }
}
