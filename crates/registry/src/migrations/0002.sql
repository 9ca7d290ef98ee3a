-- Journals are numbered as revisions are; the archive's own stand under an institution of its own,
-- which owns no objects and has the name "(archive)", that no institution can have.

INSERT INTO counters (name, epoch, number) SELECT 'journal', epoch_number, 0 FROM archive;
