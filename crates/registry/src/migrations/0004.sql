-- Deletion. docs/format/registry.md says what each is for.

ALTER TABLE objects ADD COLUMN deleted INTEGER;

-- What waits for a person's word is unfinished too.
DROP INDEX work_key;
CREATE UNIQUE INDEX work_key ON work (kind, key)
    WHERE key IS NOT NULL AND status IN ('queued', 'running', 'trouble', 'waiting');

-- What of a segment is referred to is walked in the order of its bytes.
DROP INDEX extents_segment;
CREATE INDEX extents_segment ON extents (segment, start);

CREATE TABLE deletions (
    work       BLOB    NOT NULL PRIMARY KEY REFERENCES work (id),
    asked_by   BLOB,
    decision   TEXT,
    decided_by BLOB,
    decided    INTEGER
) STRICT;

CREATE TABLE deleted_segments (
    work      BLOB NOT NULL,
    segment   BLOB NOT NULL,
    kind      TEXT,
    tombstone BLOB,
    PRIMARY KEY (work, segment)
) STRICT, WITHOUT ROWID;
CREATE INDEX deleted_segments_segment ON deleted_segments (segment);

CREATE TABLE deleted_files (
    version BLOB    NOT NULL,
    number  INTEGER NOT NULL,
    leaf    BLOB    NOT NULL CHECK (length(leaf) = 32),
    PRIMARY KEY (version, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE moves (
    work       BLOB    NOT NULL,
    segment    BLOB    NOT NULL,
    start      INTEGER NOT NULL,
    to_segment BLOB    NOT NULL,
    to_start   INTEGER NOT NULL,
    PRIMARY KEY (work, segment, start)
) STRICT, WITHOUT ROWID;
