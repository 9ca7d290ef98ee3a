-- Certificates are known by their serials, which are 16 random bytes. Nothing was written to these
-- two tables before. A revocation stands alone: it may name a certificate that was never listed here.

DROP TABLE revocations;
DROP TABLE certificates;

CREATE TABLE certificates (
    institution BLOB    NOT NULL REFERENCES institutions (id),
    serial      BLOB    NOT NULL CHECK (length(serial) = 16),
    writer      BLOB    NOT NULL CHECK (length(writer) = 32),
    certificate BLOB    NOT NULL,
    valid_from  INTEGER NOT NULL,
    valid_until INTEGER NOT NULL,
    created     INTEGER NOT NULL,
    PRIMARY KEY (institution, serial)
) STRICT, WITHOUT ROWID;

CREATE TABLE revocations (
    institution  BLOB    NOT NULL REFERENCES institutions (id),
    serial       BLOB    NOT NULL CHECK (length(serial) = 16),
    last_epoch   INTEGER NOT NULL,
    last_journal INTEGER NOT NULL,
    time         INTEGER NOT NULL,
    PRIMARY KEY (institution, serial)
) STRICT, WITHOUT ROWID;
