-- Texts that accounts have analysed: what each may have, its own rules, and what it used.
CREATE TABLE text_accounts (
    account       BLOB    NOT NULL PRIMARY KEY REFERENCES accounts (id),
    texts_per_day INTEGER CHECK (texts_per_day >= 0),
    bytes_per_day INTEGER CHECK (bytes_per_day >= 0),
    revision      INTEGER NOT NULL DEFAULT 0,
    book          TEXT
) STRICT;
-- A day is one of UTC, counted from 1970-01-01.
CREATE TABLE text_usage (
    account BLOB    NOT NULL REFERENCES accounts (id),
    day     INTEGER NOT NULL,
    calls   INTEGER NOT NULL,
    texts   INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    PRIMARY KEY (account, day)
) STRICT, WITHOUT ROWID;
