public import Settings

extension AgentSession {
    /// Where a record is that a text names as `AGENT_LEDGER_URL` does, in the schema that the settings name.
    public func ledgerAddress(_ text: String) throws(NoLedger) -> LedgerAddress {
        let schema = settings.listing.first { $0.name == Setting.ledgerSchema.name }?.value
        return try LedgerAddress(text, schema: schema ?? Setting.ledgerSchema.fallback)
    }
}
