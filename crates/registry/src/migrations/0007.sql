-- What the last reclaiming of a shelf left where it is, as most of its logs is wanted.

ALTER TABLE shelf_usage ADD COLUMN kept_bytes INTEGER NOT NULL DEFAULT 0;
