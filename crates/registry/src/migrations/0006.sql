-- Tokens by which accounts act over HTTP. Only the SHA-256 of a token is kept.
CREATE TABLE tokens (
    id        BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    account   BLOB    NOT NULL REFERENCES accounts (id),
    name      TEXT    NOT NULL,
    sha256    BLOB    NOT NULL UNIQUE CHECK (length(sha256) = 32),
    scopes    TEXT    NOT NULL,
    once      INTEGER NOT NULL CHECK (once IN (0, 1)),
    created   INTEGER NOT NULL,
    expires   INTEGER,
    last_used INTEGER,
    revoked   INTEGER
) STRICT;
CREATE INDEX tokens_by_account ON tokens (account, created, id);
