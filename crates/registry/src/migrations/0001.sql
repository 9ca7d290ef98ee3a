-- The tables of the first version. docs/format/registry.md says what each is for.
-- Ids are 16 bytes, times microseconds since 1970 UTC, words those of the crate `record`.

CREATE TABLE archive (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    only_one     INTEGER NOT NULL UNIQUE CHECK (only_one = 1),
    epoch_number INTEGER NOT NULL CHECK (epoch_number BETWEEN 1 AND 2147483647),
    epoch        BLOB    NOT NULL CHECK (length(epoch) = 16),
    created      INTEGER NOT NULL
) STRICT;

CREATE TABLE epochs (
    number INTEGER NOT NULL PRIMARY KEY,
    epoch  BLOB    NOT NULL UNIQUE CHECK (length(epoch) = 16),
    began  INTEGER NOT NULL
) STRICT;

-- Numbers that decide. Drawn by UPDATE ... RETURNING, so none is drawn twice.
CREATE TABLE counters (
    name   TEXT    NOT NULL PRIMARY KEY,
    epoch  INTEGER NOT NULL,
    number INTEGER NOT NULL
) STRICT;

CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE institutions (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name       TEXT    NOT NULL UNIQUE,
    generation INTEGER NOT NULL,
    keys       BLOB    NOT NULL,
    coding     TEXT,
    created    INTEGER NOT NULL
) STRICT;

CREATE TABLE accounts (
    id          BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    institution BLOB    NOT NULL REFERENCES institutions (id),
    name        TEXT    NOT NULL,
    role        TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    created     INTEGER NOT NULL,
    UNIQUE (institution, name)
) STRICT;

-- Reserved for rotation: one row for each generation of an institution's keys.
CREATE TABLE key_generations (
    institution BLOB    NOT NULL REFERENCES institutions (id),
    generation  INTEGER NOT NULL,
    keys        BLOB    NOT NULL,
    keyring     BLOB,
    created     INTEGER NOT NULL,
    PRIMARY KEY (institution, generation)
) STRICT;

-- Reserved for writers' certificates and their revocation.
CREATE TABLE certificates (
    institution BLOB    NOT NULL REFERENCES institutions (id),
    serial      INTEGER NOT NULL,
    writer      BLOB    NOT NULL,
    certificate BLOB    NOT NULL,
    valid_from  INTEGER NOT NULL,
    valid_until INTEGER NOT NULL,
    PRIMARY KEY (institution, serial)
) STRICT;

CREATE TABLE revocations (
    institution  BLOB    NOT NULL,
    serial       INTEGER NOT NULL,
    last_epoch   INTEGER NOT NULL,
    last_journal INTEGER NOT NULL,
    time         INTEGER NOT NULL,
    PRIMARY KEY (institution, serial),
    FOREIGN KEY (institution, serial) REFERENCES certificates (institution, serial)
) STRICT;

CREATE TABLE shelves (
    id             BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name           TEXT    NOT NULL UNIQUE,
    location       TEXT    NOT NULL,
    domain         TEXT    NOT NULL,
    capacity_bytes INTEGER,
    state          TEXT    NOT NULL,
    added          INTEGER NOT NULL
) STRICT;

CREATE TABLE objects (
    id          BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    institution BLOB    NOT NULL REFERENCES institutions (id),
    name        TEXT    NOT NULL,
    coding      TEXT,
    source      TEXT,
    versions    INTEGER NOT NULL DEFAULT 0,
    created     INTEGER NOT NULL,
    UNIQUE (institution, name)
) STRICT;

CREATE TABLE versions (
    id             BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    object         BLOB    NOT NULL REFERENCES objects (id),
    number         INTEGER NOT NULL,
    state          TEXT    NOT NULL,
    work           BLOB    NOT NULL REFERENCES work (id),
    source         TEXT    NOT NULL,
    bag            INTEGER NOT NULL,
    files          INTEGER NOT NULL,
    bytes          INTEGER NOT NULL,
    revision_epoch INTEGER NOT NULL,
    revision       INTEGER NOT NULL,
    record         BLOB,
    record_sha256  BLOB,
    created        INTEGER NOT NULL,
    published      INTEGER,
    detail         TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX versions_published ON versions (object, number) WHERE state = 'published';
CREATE UNIQUE INDEX versions_draft ON versions (object) WHERE state = 'draft';
CREATE UNIQUE INDEX versions_draft_work ON versions (work) WHERE state = 'draft';
CREATE INDEX versions_object ON versions (object, created);

CREATE TABLE files (
    version BLOB    NOT NULL,
    number  INTEGER NOT NULL,
    id      BLOB    NOT NULL CHECK (length(id) = 16),
    path    BLOB    NOT NULL,
    kind    TEXT    NOT NULL,
    mode    INTEGER NOT NULL,
    mtime   INTEGER NOT NULL,
    size    INTEGER NOT NULL,
    sha256  BLOB    NOT NULL CHECK (length(sha256) = 32),
    digests BLOB,
    target  BLOB,
    made    INTEGER NOT NULL,
    format  TEXT,
    PRIMARY KEY (version, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX files_path ON files (version, path);
CREATE INDEX files_digest ON files (version, sha256) WHERE size > 0;

CREATE TABLE extents (
    version BLOB    NOT NULL,
    number  INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    segment BLOB    NOT NULL,
    start   INTEGER NOT NULL,
    length  INTEGER NOT NULL,
    PRIMARY KEY (version, number, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX extents_segment ON extents (segment);

CREATE TABLE segments (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    version      BLOB,
    object       BLOB,
    institution  BLOB    NOT NULL REFERENCES institutions (id),
    kind         TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    generation   INTEGER NOT NULL,
    bytes        INTEGER NOT NULL,
    coding       TEXT    NOT NULL,
    coding_epoch INTEGER NOT NULL,
    coding_no    INTEGER NOT NULL,
    work         BLOB,
    token        INTEGER NOT NULL,
    created      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX segments_object ON segments (object, id);
CREATE INDEX segments_version ON segments (version, id);
CREATE INDEX segments_writing ON segments (work, id) WHERE state = 'writing';

CREATE TABLE placements (
    segment      BLOB    NOT NULL REFERENCES segments (id),
    coding_epoch INTEGER NOT NULL,
    coding_no    INTEGER NOT NULL,
    shard        INTEGER NOT NULL,
    shelf        BLOB    NOT NULL REFERENCES shelves (id),
    log          BLOB    NOT NULL,
    frames       BLOB    NOT NULL,
    bytes        INTEGER NOT NULL,
    state        TEXT    NOT NULL,
    checked      INTEGER NOT NULL,
    PRIMARY KEY (segment, coding_epoch, coding_no, shard)
) STRICT, WITHOUT ROWID;
CREATE INDEX placements_shelf ON placements (shelf);
CREATE INDEX placements_checked ON placements (checked) WHERE state <> 'released';

CREATE TABLE work (
    id          BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    kind        TEXT    NOT NULL,
    institution BLOB    NOT NULL REFERENCES institutions (id),
    object      BLOB    REFERENCES objects (id),
    key         TEXT,
    request     TEXT    NOT NULL,
    stage       TEXT    NOT NULL,
    status      TEXT    NOT NULL,
    attempts    INTEGER NOT NULL,
    token       INTEGER NOT NULL,
    worker      BLOB,
    lease_until INTEGER,
    checkpoint  TEXT    NOT NULL,
    note        TEXT    NOT NULL,
    report      TEXT    NOT NULL,
    created     INTEGER NOT NULL,
    updated     INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX work_key ON work (kind, key)
    WHERE key IS NOT NULL AND status IN ('queued', 'running', 'trouble');
CREATE INDEX work_waiting ON work (created, id) WHERE status IN ('queued', 'running');
CREATE INDEX work_listed ON work (created, id);
CREATE INDEX work_object ON work (object, created);

CREATE TABLE event_heads (
    institution BLOB    NOT NULL PRIMARY KEY REFERENCES institutions (id),
    sequence    INTEGER NOT NULL,
    hash        BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;

CREATE TABLE events (
    institution BLOB    NOT NULL,
    sequence    INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    time        INTEGER NOT NULL,
    before      BLOB    NOT NULL,
    hash        BLOB    NOT NULL,
    kind        TEXT    NOT NULL,
    outcome     TEXT    NOT NULL,
    object      BLOB,
    version     BLOB,
    work        BLOB,
    files_count INTEGER,
    files_root  BLOB,
    detail      TEXT    NOT NULL,
    PRIMARY KEY (institution, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX events_object ON events (object, sequence);
-- Append-only, also for our own mistakes.
CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_are_not_deleted BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

-- Reserved for deletion: what was deleted, by id, so that rebuilding does not raise the dead.
CREATE TABLE tombstones (
    kind        TEXT    NOT NULL,
    id          BLOB    NOT NULL,
    institution BLOB    NOT NULL REFERENCES institutions (id),
    object      BLOB,
    event       INTEGER NOT NULL,
    journal     BLOB,
    detail      TEXT    NOT NULL,
    time        INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

-- Reserved for journals; institution NULL for the archive's own.
CREATE TABLE journals (
    id          BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    institution BLOB,
    epoch       INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    whole       INTEGER NOT NULL,
    first_event INTEGER NOT NULL,
    last_event  INTEGER NOT NULL,
    before      BLOB,
    head        BLOB    NOT NULL,
    head_sha256 BLOB    NOT NULL,
    created     INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX journals_number ON journals (institution, epoch, number);
