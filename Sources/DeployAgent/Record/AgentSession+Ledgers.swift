extension AgentSession {
    /// Where a record is that a text names as `AGENT_LEDGER_URL` does, in the schema that the settings name; nil when the
    /// text names none.
    public func ledgerAddress(_ text: String) -> LedgerAddress? {
        let schema = settings.listing.first { $0.name == Setting.ledgerSchema.name }?.value
        return LedgerAddress(text, schema: schema ?? Setting.ledgerSchema.fallback)
    }
}
