-- Accounting of shelves and institutions, kept by triggers in the transactions that change what is
-- counted, whoever writes them; and what stands on shelves and is wanted there no longer.

CREATE TABLE leftovers (
    shelf        BLOB    NOT NULL REFERENCES shelves (id),
    segment      BLOB    NOT NULL,
    coding_epoch INTEGER NOT NULL,
    coding_no    INTEGER NOT NULL,
    shard        INTEGER NOT NULL,
    log          BLOB    NOT NULL,
    frames       BLOB    NOT NULL,
    bytes        INTEGER NOT NULL
) STRICT;
CREATE INDEX leftovers_shelf ON leftovers (shelf);
CREATE INDEX leftovers_segment ON leftovers (segment);

CREATE INDEX segments_released ON segments (id) WHERE state = 'released';
CREATE INDEX placements_released ON placements (shelf) WHERE state = 'released';

CREATE TABLE shelf_usage (
    shelf          BLOB    NOT NULL PRIMARY KEY REFERENCES shelves (id),
    live_shards    INTEGER NOT NULL DEFAULT 0,
    live_bytes     INTEGER NOT NULL DEFAULT 0,
    pending_shards INTEGER NOT NULL DEFAULT 0,
    pending_bytes  INTEGER NOT NULL DEFAULT 0,
    unknown_logs   INTEGER NOT NULL DEFAULT 0,
    unknown_bytes  INTEGER NOT NULL DEFAULT 0,
    looked         INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO shelf_usage (shelf, live_shards, live_bytes, pending_shards, pending_bytes)
    SELECT shelves.id,
        COUNT(CASE WHEN placements.state IN ('good', 'damaged') THEN 1 END),
        COALESCE(SUM(CASE WHEN placements.state IN ('good', 'damaged') THEN bytes END), 0),
        COUNT(CASE WHEN placements.state = 'released' THEN 1 END),
        COALESCE(SUM(CASE WHEN placements.state = 'released' THEN bytes END), 0)
    FROM shelves LEFT JOIN placements ON placements.shelf = shelves.id GROUP BY shelves.id;

CREATE TRIGGER shelves_usage AFTER INSERT ON shelves BEGIN
    INSERT INTO shelf_usage (shelf) VALUES (NEW.id);
END;

CREATE TRIGGER placements_counted AFTER INSERT ON placements BEGIN
    UPDATE shelf_usage SET
        live_shards = live_shards + (NEW.state IN ('good', 'damaged')),
        live_bytes = live_bytes + NEW.bytes * (NEW.state IN ('good', 'damaged')),
        pending_shards = pending_shards + (NEW.state = 'released'),
        pending_bytes = pending_bytes + NEW.bytes * (NEW.state = 'released')
    WHERE shelf = NEW.shelf;
END;
CREATE TRIGGER placements_discounted AFTER DELETE ON placements BEGIN
    UPDATE shelf_usage SET
        live_shards = live_shards - (OLD.state IN ('good', 'damaged')),
        live_bytes = live_bytes - OLD.bytes * (OLD.state IN ('good', 'damaged')),
        pending_shards = pending_shards - (OLD.state = 'released'),
        pending_bytes = pending_bytes - OLD.bytes * (OLD.state = 'released')
    WHERE shelf = OLD.shelf;
END;
CREATE TRIGGER placements_recounted AFTER UPDATE OF shelf, bytes, state ON placements
WHEN OLD.shelf <> NEW.shelf OR OLD.bytes <> NEW.bytes OR OLD.state <> NEW.state BEGIN
    UPDATE shelf_usage SET
        live_shards = live_shards - (OLD.state IN ('good', 'damaged')),
        live_bytes = live_bytes - OLD.bytes * (OLD.state IN ('good', 'damaged')),
        pending_shards = pending_shards - (OLD.state = 'released'),
        pending_bytes = pending_bytes - OLD.bytes * (OLD.state = 'released')
    WHERE shelf = OLD.shelf;
    UPDATE shelf_usage SET
        live_shards = live_shards + (NEW.state IN ('good', 'damaged')),
        live_bytes = live_bytes + NEW.bytes * (NEW.state IN ('good', 'damaged')),
        pending_shards = pending_shards + (NEW.state = 'released'),
        pending_bytes = pending_bytes + NEW.bytes * (NEW.state = 'released')
    WHERE shelf = NEW.shelf;
END;
-- Where a shard stood before it was made anew or moved, bytes of it may still be.
CREATE TRIGGER placements_left AFTER UPDATE OF shelf, log, frames ON placements
WHEN (OLD.shelf <> NEW.shelf OR OLD.log <> NEW.log OR OLD.frames <> NEW.frames)
    AND length(OLD.frames) > 0 BEGIN
    INSERT INTO leftovers (shelf, segment, coding_epoch, coding_no, shard, log, frames, bytes)
    VALUES (OLD.shelf, OLD.segment, OLD.coding_epoch, OLD.coding_no, OLD.shard, OLD.log,
        OLD.frames, OLD.bytes);
END;

CREATE TRIGGER leftovers_counted AFTER INSERT ON leftovers BEGIN
    UPDATE shelf_usage SET pending_shards = pending_shards + 1,
        pending_bytes = pending_bytes + NEW.bytes WHERE shelf = NEW.shelf;
END;
CREATE TRIGGER leftovers_discounted AFTER DELETE ON leftovers BEGIN
    UPDATE shelf_usage SET pending_shards = pending_shards - 1,
        pending_bytes = pending_bytes - OLD.bytes WHERE shelf = OLD.shelf;
END;

-- Plaintext of published versions and drafts, which quotas bound.
CREATE TABLE institution_usage (
    institution BLOB    NOT NULL PRIMARY KEY REFERENCES institutions (id),
    bytes       INTEGER NOT NULL DEFAULT 0,
    bytes_max   INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO institution_usage (institution, bytes)
    SELECT institutions.id, COALESCE((SELECT SUM(versions.bytes) FROM objects JOIN versions
        ON versions.object = objects.id AND versions.state IN ('draft', 'published')
        WHERE objects.institution = institutions.id), 0) FROM institutions;
CREATE TRIGGER institutions_usage AFTER INSERT ON institutions BEGIN
    INSERT INTO institution_usage (institution) VALUES (NEW.id);
END;
CREATE TRIGGER versions_counted AFTER INSERT ON versions BEGIN
    UPDATE institution_usage SET
        bytes = bytes + NEW.bytes * (NEW.state IN ('draft', 'published'))
    WHERE institution = (SELECT institution FROM objects WHERE id = NEW.object);
END;
CREATE TRIGGER versions_discounted AFTER DELETE ON versions BEGIN
    UPDATE institution_usage SET
        bytes = bytes - OLD.bytes * (OLD.state IN ('draft', 'published'))
    WHERE institution = (SELECT institution FROM objects WHERE id = OLD.object);
END;
CREATE TRIGGER versions_recounted AFTER UPDATE OF bytes, state ON versions
WHEN OLD.bytes <> NEW.bytes OR OLD.state <> NEW.state BEGIN
    UPDATE institution_usage SET
        bytes = bytes - OLD.bytes * (OLD.state IN ('draft', 'published'))
            + NEW.bytes * (NEW.state IN ('draft', 'published'))
    WHERE institution = (SELECT institution FROM objects WHERE id = NEW.object);
END;
