extension Settings {
    /// Variables that hold credentials of the agent's own, beside `AGENT_*`: hooks may need them, the app does not.
    package var ownCredentials: Set<String> {
        var names: Set<String> = [Setting.token.name, Setting.notifyURL.name, Setting.notifySecret.name]
        // libpq takes it where the URL holds no password; else it is somebody else's.
        if ledger.isShared, ledger.passwords.isEmpty { names.insert("PGPASSWORD") }
        return names
    }

    /// Those that the app is not to have.
    package var withheldFromApp: Set<String> { entrypoint.sharesCredentials ? [] : ownCredentials }
}
