-- What the ledger's user needs where it may not create schemas. Run it as the database's owner or a superuser:
--   psql -v agent=deploy_agent -f grants.sql DATABASE
-- The agent makes its tables in the schema itself, also those of later versions, and owns them. It needs nothing else:
-- no right on another schema, no role, no extension.
-- For another AGENT_LEDGER_SCHEMA change the name in both lines.
GRANT CONNECT ON DATABASE :"DBNAME" TO :"agent";
CREATE SCHEMA IF NOT EXISTS deploy_agent;
GRANT USAGE, CREATE ON SCHEMA deploy_agent TO :"agent";
