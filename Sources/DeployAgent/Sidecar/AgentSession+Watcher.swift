import Settings
package import Shell

extension AgentSession {
    package func watcher(_ lock: WorkspaceLock, _ inForce: InForce, stop: StopSignal) -> Watcher {
        watcher(lock, inForce, stop: stop, onStart: .changed, beforePost: nil)
    }

    func watcher(
        _ lock: WorkspaceLock, _ inForce: InForce, stop: StopSignal, onStart: OnStart, beforePost: BeforePost?,
        bell: TriggerBell? = nil
    ) -> Watcher {
        Watcher(
            origin: origin, base: settings, log: log, inForce: inForce, state: state, instance: instance,
            stop: stop,
            abandoned: lock.abandoned, onStart: onStart, beforePost: beforePost, bell: bell,
            tasks: TaskWatch(),
            openLedger: { [log] in
                try $0.ledger.open(tasksTable: $0.tasksTable, within: $0.ledgerTimeout, for: log)
            })
    }
}
