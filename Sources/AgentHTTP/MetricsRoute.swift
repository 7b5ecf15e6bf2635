import DeployAgent
import Hummingbird
import Ledger

/// `GET /metrics`.
struct MetricsRoute: Sendable {
    let vitals: Vitals
    let version: String

    func add(to router: Router<BasicRequestContext>) {
        router.add(.get, "/metrics") { _, _ in
            Response(
                status: .ok, headers: [.contentType: MetricsText.mediaType],
                body: ResponseBody(byteBuffer: ByteBuffer(string: text(vitals.snapshot))))
        }
    }

    func text(_ vitals: Vitals.Snapshot) -> String {
        var out = MetricsText()
        out.metric("deploy_agent_build_info", .gauge, "The agent's version.")
        out.sample("deploy_agent_build_info", [("version", version)], 1)
        if let commit = vitals.commit {
            out.metric("deploy_agent_commit_info", .gauge, "The commit last deployed or looked at.")
            out.sample("deploy_agent_commit_info", [("commit", commit), ("ref", vitals.ref ?? "")], 1)
            out.gauge("deploy_agent_commit_attempts", "Attempts at that commit.", Double(vitals.attempt))
        }
        out.gauge("deploy_agent_ready", "Whether the current commit is deployed.", vitals.readiness == .ready ? 1 : 0)
        out.gauge(
            "deploy_agent_commit_held", "Whether the followed commit is held, since it was rolled back from.",
            vitals.isHeld ? 1 : 0)
        out.gauge(
            "deploy_agent_last_successful_check_timestamp_seconds", "When the followed ref was last read.",
            vitals.lastSuccessfulCheck?.seconds)
        out.gauge(
            "deploy_agent_last_successful_deployment_timestamp_seconds", "When a deployment last succeeded.",
            vitals.lastSucceededDeployment?.seconds)
        out.metric(
            "deploy_agent_check_error", .gauge,
            "1 for the kind of error that the last check met: transient may be better by itself, permanent is not.")
        for kind in [ErrorKind.transient, .permanent] {
            out.sample("deploy_agent_check_error", [("kind", kind.rawValue)], vitals.lastError == kind ? 1 : 0)
        }
        out.metric("deploy_agent_checks_total", .counter, "Checks since the start, by outcome.")
        for (outcome, count) in vitals.checks.sorted(by: { $0.key < $1.key }) {
            out.sample("deploy_agent_checks_total", [("outcome", outcome)], Double(count))
        }
        out.metric("deploy_agent_deployments_total", .counter, "Deployments since the start, by status.")
        for (status, count) in vitals.deployments.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            out.sample("deploy_agent_deployments_total", [("status", status.rawValue)], Double(count))
        }
        out.metric(
            "deploy_agent_tasks_total", .counter, "One-time tasks looked at since the start, by what came of it.")
        for (result, count) in [
            ("ran", vitals.tasks.ran), ("skipped", vitals.tasks.skipped), ("failed", vitals.tasks.failed),
        ] {
            out.sample("deploy_agent_tasks_total", [("result", result)], Double(count))
        }
        out.metric(
            "deploy_agent_task_problems_total", .counter,
            "Looks at the tasks that could not be made, or not to the end.")
        out.sample("deploy_agent_task_problems_total", [], Double(vitals.taskProblems))
        addRuns(vitals, &out)
        ProcessMetrics.add(to: &out)
        return out.text
    }

    private func addRuns(_ vitals: Vitals.Snapshot, _ out: inout MetricsText) {
        out.metric("deploy_agent_runs_total", .counter, "Runs since the start, by hook and status.")
        for (hook, statuses) in vitals.runs.sorted(by: { $0.key < $1.key }) {
            for (status, count) in statuses.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
                out.sample("deploy_agent_runs_total", [("hook", hook), ("status", status.rawValue)], Double(count))
            }
        }
        out.metric("deploy_agent_run_duration_seconds", .histogram, "How long runs took, by hook.")
        for (hook, durations) in vitals.durations.sorted(by: { $0.key < $1.key }) {
            let name = "deploy_agent_run_duration_seconds"
            for (bound, count) in zip(Vitals.Durations.bounds, durations.counts) {
                out.sample(name + "_bucket", [("hook", hook), ("le", "\(bound)")], Double(count))
            }
            out.sample(name + "_bucket", [("hook", hook), ("le", "+Inf")], Double(durations.count))
            out.sample(name + "_sum", [("hook", hook)], durations.sum)
            out.sample(name + "_count", [("hook", hook)], Double(durations.count))
        }
        out.metric(
            "deploy_agent_last_run_status", .gauge,
            "1 for the status of the last run, by hook; stays until another run has ended.")
        for (hook, status) in vitals.lastRuns.sorted(by: { $0.key < $1.key }) {
            for candidate in RunStatus.allCases where candidate != .running {
                out.sample(
                    "deploy_agent_last_run_status", [("hook", hook), ("status", candidate.rawValue)],
                    candidate == status ? 1 : 0)
            }
        }
    }
}

extension Timestamp {
    fileprivate var seconds: Double { Double(milliseconds) / 1000 }
}
