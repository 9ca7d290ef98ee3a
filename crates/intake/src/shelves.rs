//! What can be asked of shelves: to be set otherwise, retired, replaced, reclaimed, rebalanced; and
//! quotas of institutions.

use crate::archive::{DEFAULT_INSTITUTION, now, random_id};
use crate::{Archive, DrainRequest, Error, RebalanceRequest, ReclaimRequest};
use std::path::Path;
use strongroom_record::{EventDraft, EventKind, InstitutionId, WorkId, WorkItem, WorkKind};
use strongroom_registry::{Quota, Shelf, ShelfState};

/// What is to be different of a shelf; `None` leaves it.
#[derive(Clone, Debug, Default)]
pub struct ShelfChange {
    /// Bytes that it may hold; `Some(None)`: as many as its disk can.
    pub capacity: Option<Option<u64>>,
    /// What is lost together with it.
    pub domain: Option<String>,
    /// Whether it is only read (`true`), or written to as well.
    pub read_only: Option<bool>,
}

impl Archive {
    /// The shelf of this name.
    pub fn find_shelf(&self, name: &str) -> Result<Shelf, Error> {
        let shelves = self.block_on(self.registry().shelves())?;
        let missing = || Error::NotFound { what: "shelf", name: name.into() };
        shelves.into_iter().find(|shelf| shelf.name == name).ok_or_else(missing)
    }

    /// Queues the removal of what is released, from all shelves or one; with `everything` also where
    /// much of a log is still wanted and must be copied.
    pub fn reclaim(&self, shelf: Option<&str>, everything: bool) -> Result<WorkItem, Error> {
        let shelf = shelf.map(|name| Ok::<_, Error>(self.find_shelf(name)?.id.to_string()));
        let shelf = shelf.transpose()?;
        let key = format!(
            "{}{}",
            shelf.as_deref().unwrap_or("all"),
            if everything { " everything" } else { "" }
        );
        let request = ReclaimRequest { shelf, everything, listed: false };
        self.queue_storage(WorkKind::Reclaim, key, &request)
    }

    /// Queues reclaiming for the shelves that are there, where bytes of what was deleted still wait: a shelf
    /// may have been missing, or its log in use, when that was tried before.
    pub(crate) fn queue_reclaims(&self) -> Result<(), Error> {
        if self.behind().is_some() {
            return Ok(());
        }
        let open = self.vault().shelves().iter();
        let open = open.filter(|shelf| !shelf.is_mounted_read_only());
        let shelves: Vec<_> = open.map(|shelf| shelf.spec().id).collect();
        let queued = self.registry().queue_reclaims(&shelves, WorkId(random_id()), now());
        Ok(self.block_on(queued)?)
    }

    /// Tries reclaiming again that went to the trouble queue, as when a worker begins.
    pub(crate) fn retry_reclaims(&self) -> Result<(), Error> {
        match self.behind() {
            Some(_) => Ok(()),
            None => Ok(self.block_on(self.registry().retry_reclaims(now()))?),
        }
    }

    /// Queues moving shards to where they would be placed now.
    pub fn rebalance(&self) -> Result<WorkItem, Error> {
        self.queue_storage(WorkKind::Rebalance, "all".into(), &RebalanceRequest {})
    }

    /// Sets what a shelf is used for. This handle does not know; open the archive again.
    pub fn set_shelf(&self, name: &str, change: &ShelfChange) -> Result<Shelf, Error> {
        let before = self.find_shelf(name)?;
        if before.state == ShelfState::Retired {
            return Err(Error::Usage(format!("shelf `{name}` is retired: it takes nothing more")));
        }
        let state = match change.read_only {
            None => before.state,
            Some(true) => ShelfState::ReadOnly,
            Some(false) => ShelfState::Active,
        };
        let shelf = Shelf {
            capacity_bytes: change.capacity.unwrap_or(before.capacity_bytes),
            domain: change.domain.clone().unwrap_or_else(|| before.domain.clone()),
            state,
            ..before.clone()
        };
        self.change_shelf(&before, &shelf)?;
        Ok(shelf)
    }

    /// Queues emptying a shelf, after which it is retired: from now on nothing is placed on it. Refused
    /// where too few would be left for what is stored and for the policies. What remains on it is read
    /// until it stands elsewhere.
    pub fn retire_shelf(&self, name: &str) -> Result<WorkItem, Error> {
        let before = self.find_shelf(name)?;
        if before.state == ShelfState::Retired {
            return Err(Error::Usage(format!("shelf `{name}` is retired already")));
        }
        let open = self.vault().shelves().iter().map(|open| open.spec());
        let remain = open.filter(|spec| !spec.read_only && spec.id != before.id).count();
        let needed = usize::from(self.block_on(self.registry().widest_coding())?);
        if remain < needed {
            return Err(Error::TooFewRemain { shelf: name.into(), needed, remain });
        }
        if before.state != ShelfState::Draining {
            self.change_shelf(&before, &Shelf { state: ShelfState::Draining, ..before.clone() })?;
        }
        let request = DrainRequest { shelf: before.id.to_string() };
        self.queue_storage(WorkKind::Drain, before.id.to_string(), &request)
    }

    /// Adds a shelf in `path`, as `name`, to take the place of another of the same domain unless one is
    /// named. Open the archive again, then retire the old one.
    pub fn add_in_place_of(
        &self,
        old: &str,
        name: &str,
        path: &Path,
        domain: &str,
    ) -> Result<Shelf, Error> {
        let old = self.find_shelf(old)?;
        if old.state == ShelfState::Retired {
            return Err(Error::Usage(format!("shelf `{}` is retired already", old.name)));
        }
        self.add_shelf(name, path, domain, None)
    }

    /// What an institution has, and may have.
    pub fn quota(&self, institution: InstitutionId) -> Result<Quota, Error> {
        Ok(self.block_on(self.registry().quota(institution))?)
    }

    /// Sets what an institution may have at most; `None`: as much as there is room for.
    pub fn set_quota(&self, institution: InstitutionId, max: Option<u64>) -> Result<(), Error> {
        let detail = serde_json::json!({"quota_bytes": max.map(|max| max.to_string())});
        let event = EventDraft { detail, ..EventDraft::new(EventKind::Policy) };
        Ok(self.block_on(self.registry().set_quota(institution, max, event, now()))?)
    }

    /// Refuses what would bring an institution over its quota; asked before a source is read.
    pub(crate) fn reserve_quota(
        &self,
        institution: InstitutionId,
        needed: u64,
    ) -> Result<(), Error> {
        let Quota { used, max } = self.quota(institution)?;
        match max {
            Some(max) if used.saturating_add(needed) > max => {
                Err(Error::Quota { used, needed, max })
            }
            _ => Ok(()),
        }
    }

    fn change_shelf(&self, before: &Shelf, after: &Shelf) -> Result<(), Error> {
        let institution = self.institution(DEFAULT_INSTITUTION)?;
        let detail = serde_json::json!({
            "shelf": after.name, "state": after.state.word(), "domain": after.domain,
            "capacity_bytes": after.capacity_bytes.map(|bytes| bytes.to_string()),
        });
        let event = EventDraft { detail, ..EventDraft::new(EventKind::Storage) };
        let set = self.registry().set_shelf(after, before.state, institution, event, now());
        Ok(self.block_on(set)?)
    }

    fn queue_storage(
        &self,
        kind: WorkKind,
        key: String,
        request: &impl serde::Serialize,
    ) -> Result<WorkItem, Error> {
        let institution = self.institution(DEFAULT_INSTITUTION)?;
        self.queue(kind, institution, None, Some(key), request)
    }
}
