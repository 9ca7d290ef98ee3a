//! The file system: what can be read now, what is durable, and what lies between.

use super::{Counts, Fault};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::Path;
use strongroom_spool::testing::Random;

/// The folder that is always there.
const ROOT: usize = 0;

#[derive(Debug)]
pub(super) struct State {
    /// Rises with each start; handles from before are dead.
    boot: u64,
    pub(super) on: bool,
    pub(super) ops: u64,
    pub(super) cut_at: Option<u64>,
    /// The cut comes at so many further operations of these kinds.
    pub(super) cut_of: Option<(&'static [&'static str], u64)>,
    /// What comes is the end of the process only: what it wrote stays, synced or not.
    pub(super) spares: bool,
    /// Whether a failed sync left in memory what is not on the disk.
    forgot: bool,
    pub(super) lies: Option<&'static str>,
    pub(super) counts: Counts,
    nodes: Vec<Node>,
    /// What was done to names and is not synced, in order.
    names: Vec<Change>,
    faults: Vec<Injected>,
    random: Random,
    handles: u64,
    pub(super) open_by_sqlite: u64,
    kind_of: fn(&Path) -> &'static str,
}

#[derive(Debug)]
enum Node {
    File(Box<File>),
    Folder(Folder),
}

#[derive(Debug, Default)]
pub(super) struct File {
    kind: &'static str,
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
    /// Locks: spool's, and those of SQLite, each by handle.
    pub(super) locked_by: Option<u64>,
    pub(super) levels: BTreeMap<u64, i32>,
    pub(super) shared_memory: super::vfs::SharedMemory,
}

#[derive(Debug)]
struct Pending {
    order: u64,
    what: Edit,
}

#[derive(Debug)]
enum Edit {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

#[derive(Debug, Default)]
struct Folder {
    now: BTreeMap<OsString, usize>,
    durable: BTreeMap<OsString, usize>,
}

/// A change of names that survives as a whole or not at all.
#[derive(Debug)]
struct Change {
    order: u64,
    kind: &'static str,
    /// In this folder, this name leads there.
    set: Vec<(usize, OsString, Option<usize>)>,
}

#[derive(Debug)]
struct Injected {
    fault: Fault,
    kinds: &'static [&'static str],
    after: u64,
}

/// What a power cut leaves of what was not synced.
enum Fate {
    /// Nothing.
    Lost,
    /// What was done before this operation.
    Until(u64),
    /// Each thing with this chance in 8; with `true`, names only up to some moment, as a journal has it.
    Any(u64, Option<u64>),
    /// Names and lengths, but no contents.
    Names,
}

impl State {
    pub(super) fn new(random: Random, kind_of: fn(&Path) -> &'static str) -> State {
        State {
            boot: 0,
            on: false,
            ops: 0,
            cut_at: None,
            cut_of: None,
            spares: false,
            forgot: false,
            lies: None,
            counts: Counts::default(),
            nodes: vec![Node::Folder(Folder::default())],
            names: Vec::new(),
            faults: Vec::new(),
            random,
            handles: 0,
            open_by_sqlite: 0,
            kind_of,
        }
    }

    pub(super) fn power_on(&mut self) -> u64 {
        (self.on, self.cut_at, self.cut_of, self.spares) = (true, None, None, false);
        self.boot += 1;
        self.boot
    }

    /// Refuses what a machine asks for that has no power any more.
    pub(super) fn alive(&self, boot: u64) -> io::Result<()> {
        match self.on && self.boot == boot {
            true => Ok(()),
            false => Err(io::Error::other("the power was cut")),
        }
    }

    pub(super) fn new_handle(&mut self) -> u64 {
        self.handles += 1;
        self.handles
    }

    pub(super) fn random(&mut self) -> u64 {
        self.random.draw()
    }

    pub(super) fn inject(&mut self, fault: Fault, kinds: &'static [&'static str], after: u64) {
        self.faults.push(Injected { fault, kinds, after });
    }

    pub(super) fn clear_faults(&mut self) {
        self.faults.clear();
    }

    pub(super) fn file(&mut self, node: usize) -> &mut File {
        match &mut self.nodes[node] {
            Node::File(file) => file,
            Node::Folder(_) => unreachable!("handles are of files"),
        }
    }

    // Reading.

    pub(super) fn find(&self, path: &Path) -> Option<usize> {
        let mut node = ROOT;
        for part in path.strip_prefix("/").unwrap_or(path).components() {
            let Node::Folder(folder) = &self.nodes[node] else { return None };
            node = *folder.now.get(part.as_os_str())?;
        }
        Some(node)
    }

    pub(super) fn find_file(&self, boot: u64, path: &Path) -> io::Result<usize> {
        self.alive(boot)?;
        let node = self.find(path).ok_or(ErrorKind::NotFound)?;
        match self.nodes[node] {
            Node::File(_) => Ok(node),
            Node::Folder(_) => Err(ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn list(&self, boot: u64, path: &Path) -> io::Result<Vec<String>> {
        self.alive(boot)?;
        match self.find(path).map(|node| &self.nodes[node]) {
            Some(Node::Folder(folder)) => {
                Ok(folder.now.keys().filter_map(|name| name.clone().into_string().ok()).collect())
            }
            Some(Node::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn read(
        &mut self,
        boot: u64,
        node: usize,
        offset: u64,
        buf: &mut [u8],
    ) -> io::Result<usize> {
        self.alive(boot)?;
        let kind = self.file(node).kind;
        if self.strikes(Fault::ReadFails, kind) {
            return Err(io::Error::other("injected failure of a read"));
        }
        let now = &self.file(node).now;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(now.len());
        let read = buf.len().min(now.len() - from);
        buf[..read].copy_from_slice(&now[from..from + read]);
        Ok(read)
    }

    pub(super) fn len(&mut self, boot: u64, node: usize) -> io::Result<u64> {
        self.alive(boot)?;
        Ok(self.file(node).now.len() as u64)
    }

    // Names.

    pub(super) fn create_folder(&mut self, boot: u64, path: &Path) -> io::Result<()> {
        self.alive(boot)?;
        let above: Vec<_> = path.ancestors().collect();
        for folder in above.iter().rev().skip(1) {
            match self.find(folder).map(|node| &self.nodes[node]) {
                Some(Node::Folder(_)) => continue,
                Some(Node::File(_)) => return Err(ErrorKind::NotADirectory.into()),
                None => {}
            }
            self.nodes.push(Node::Folder(Folder::default()));
            let node = self.nodes.len() - 1;
            self.change("create a folder", boot, "folder", &[(folder, Some(node))])?;
        }
        Ok(())
    }

    pub(super) fn create(&mut self, boot: u64, path: &Path) -> io::Result<usize> {
        self.alive(boot)?;
        if self.find(path).is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let kind = (self.kind_of)(path);
        self.nodes.push(Node::File(Box::new(File { kind, ..File::default() })));
        let node = self.nodes.len() - 1;
        self.change("create", boot, kind, &[(path, Some(node))])?;
        Ok(node)
    }

    /// A file that no name leads to.
    pub(super) fn create_unnamed(&mut self, boot: u64) -> io::Result<usize> {
        self.alive(boot)?;
        self.nodes.push(Node::File(Box::new(File { kind: "temporary", ..File::default() })));
        Ok(self.nodes.len() - 1)
    }

    pub(super) fn rename(&mut self, boot: u64, from: &Path, to: &Path) -> io::Result<()> {
        self.alive(boot)?;
        let node = self.find(from).ok_or(ErrorKind::NotFound)?;
        if let Node::File(file) = &mut self.nodes[node] {
            file.kind = (self.kind_of)(to);
        }
        self.change("rename", boot, (self.kind_of)(to), &[(to, Some(node)), (from, None)])
    }

    pub(super) fn remove(&mut self, boot: u64, path: &Path) -> io::Result<()> {
        self.find_file(boot, path)?;
        self.change("remove", boot, (self.kind_of)(path), &[(path, None)])
    }

    fn change(
        &mut self,
        op: &'static str,
        boot: u64,
        kind: &'static str,
        names: &[(&Path, Option<usize>)],
    ) -> io::Result<()> {
        let mut set = Vec::new();
        for (path, node) in names {
            let (above, name) =
                path.parent().zip(path.file_name()).ok_or(ErrorKind::InvalidInput)?;
            let folder = self.find(above).ok_or(ErrorKind::NotFound)?;
            set.push((folder, name.to_owned(), *node));
        }
        let cut = self.tick(boot, kind)?;
        for (folder, name, node) in &set {
            lead(&mut self.folder(*folder)?.now, name, *node);
        }
        self.names.push(Change { order: self.ops, kind, set });
        self.cut_if(cut, op, kind)
    }

    pub(super) fn sync_folder(&mut self, boot: u64, path: &Path) -> io::Result<()> {
        self.alive(boot)?;
        let node = self.find(path).ok_or(ErrorKind::NotFound)?;
        self.folder(node)?;
        let cut = self.tick(boot, (self.kind_of)(path))?;
        self.cut_if(cut, "sync of folder", (self.kind_of)(path))?;
        if self.lies == Some((self.kind_of)(path)) {
            return Ok(());
        }
        if self.strikes(Fault::SyncFails, (self.kind_of)(path)) {
            return Err(io::Error::other("injected failure of a sync"));
        }
        let (synced, others) = std::mem::take(&mut self.names)
            .into_iter()
            .partition::<Vec<_>, _>(|change| change.set.iter().any(|(f, ..)| *f == node));
        self.names = others;
        synced.iter().for_each(|change| self.keep(change));
        Ok(())
    }

    fn folder(&mut self, node: usize) -> io::Result<&mut Folder> {
        match &mut self.nodes[node] {
            Node::Folder(folder) => Ok(folder),
            Node::File(_) => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn keep(&mut self, change: &Change) {
        for (folder, name, node) in &change.set {
            if let Ok(folder) = self.folder(*folder) {
                lead(&mut folder.durable, name, *node);
            }
        }
    }

    // Contents.

    pub(super) fn write(
        &mut self,
        boot: u64,
        node: usize,
        offset: u64,
        mut bytes: Vec<u8>,
    ) -> io::Result<()> {
        let kind = self.file(node).kind;
        let cut = self.tick(boot, kind)?;
        let longer = offset + bytes.len() as u64 > self.file(node).now.len() as u64;
        let full = longer && self.strikes(Fault::NoSpace, kind);
        let fails = self.strikes(Fault::WriteFails, kind);
        if full || fails {
            bytes.truncate(bytes.len() / 2);
        }
        let order = self.ops;
        let file = self.file(node);
        put(&mut file.now, offset, &bytes);
        file.pending.push(Pending { order, what: Edit::Write(offset, bytes) });
        self.cut_if(cut, "write", kind)?;
        match (full, fails) {
            (true, _) => Err(ErrorKind::StorageFull.into()),
            (_, true) => Err(io::Error::other("injected failure of a write")),
            _ => Ok(()),
        }
    }

    pub(super) fn truncate(&mut self, boot: u64, node: usize, len: u64) -> io::Result<()> {
        let kind = self.file(node).kind;
        let cut = self.tick(boot, kind)?;
        let order = self.ops;
        let file = self.file(node);
        file.now.resize(len as usize, 0);
        file.pending.push(Pending { order, what: Edit::Truncate(len) });
        self.cut_if(cut, "truncate", kind)
    }

    pub(super) fn sync(&mut self, boot: u64, node: usize) -> io::Result<()> {
        let kind = self.file(node).kind;
        let cut = self.tick(boot, kind)?;
        self.cut_if(cut, "sync", kind)?;
        if self.lies == Some(kind) {
            return Ok(());
        }
        let fails = self.strikes(Fault::SyncFails, kind);
        let pending = std::mem::take(&mut self.file(node).pending);
        if !fails {
            let durable = &mut self.file(node).durable;
            pending.iter().for_each(|pending| apply(durable, &pending.what));
            return Ok(());
        }
        self.forgot = true;
        let mut random = Random(self.random.draw());
        let durable = &mut self.file(node).durable;
        for Pending { what, .. } in &pending {
            survive(durable, what, 512, &mut random, |random| random.below(2) == 0);
        }
        Err(io::Error::other("injected failure of a sync"))
    }

    /// Lets go of what is in memory and was synced, or should have been: after a sync that failed, what is
    /// read then is what the disk has.
    pub(super) fn forget(&mut self, boot: u64, node: usize) {
        if self.alive(boot).is_err() || !self.forgot {
            return;
        }
        let file = self.file(node);
        if file.pending.is_empty() {
            let len = file.now.len();
            file.now = file.durable.clone();
            file.now.resize(len, 0);
        }
    }

    // The clock, what fails, and the cut.

    /// Counts an operation; whether it is the last one.
    fn tick(&mut self, boot: u64, kind: &'static str) -> io::Result<bool> {
        self.alive(boot)?;
        let mut cut = self.cut_at == Some(self.ops);
        if let Some((kinds, left)) = &mut self.cut_of
            && kinds.contains(&kind)
        {
            cut |= *left == 0;
            *left = left.saturating_sub(1);
        }
        self.ops += 1;
        Ok(cut)
    }

    fn cut_if(&mut self, cut: bool, op: &'static str, kind: &'static str) -> io::Result<()> {
        if cut {
            self.cut(op, kind);
            return Err(io::Error::other("the power was cut"));
        }
        Ok(())
    }

    fn strikes(&mut self, fault: Fault, kind: &'static str) -> bool {
        let fits =
            |i: &Injected| i.fault == fault && (i.kinds.is_empty() || i.kinds.contains(&kind));
        let Some(at) = self.faults.iter().position(fits) else { return false };
        if self.faults[at].after > 0 {
            self.faults[at].after -= 1;
            return false;
        }
        if fault != Fault::NoSpace {
            self.faults.remove(at);
        }
        *self.counts.faults.entry((fault, kind)).or_default() += 1;
        true
    }

    pub(super) fn cut(&mut self, op: &'static str, kind: &'static str) {
        if !self.on {
            return;
        }
        self.on = false;
        if self.spares && !self.forgot {
            *self.counts.kills.entry((op, kind)).or_default() += 1;
            return self.forget_process();
        }
        *self.counts.cuts.entry((op, kind)).or_default() += 1;
        let mut kinds: BTreeSet<_> = self.names.iter().map(|change| change.kind).collect();
        for node in &self.nodes {
            if let Node::File(file) = node
                && !file.pending.is_empty()
            {
                kinds.insert(file.kind);
            }
        }
        for kind in kinds {
            *self.counts.pending.entry(kind).or_default() += 1;
        }
        self.settle();
    }

    /// Locks and shared memory go with the process that had them.
    fn forget_process(&mut self) {
        for node in &mut self.nodes {
            if let Node::File(file) = node {
                file.locked_by = None;
                file.levels.clear();
                file.shared_memory = Default::default();
            }
        }
    }

    /// Decides what survives.
    fn settle(&mut self) {
        self.forget_process();
        self.forgot = false;
        let mut random = Random(self.random.draw());
        let sector = [512, 4096][random.below(2) as usize];
        let orders = (self.names.iter().map(|change| change.order)).chain(
            self.nodes
                .iter()
                .flat_map(|node| match node {
                    Node::File(file) => file.pending.as_slice(),
                    Node::Folder(_) => &[],
                })
                .map(|pending| pending.order),
        );
        let first = orders.min().unwrap_or(self.ops);
        let moment = first + random.below(self.ops - first + 2);
        let fate = match random.below(8) {
            0 => Fate::Lost,
            1 | 2 => Fate::Until(moment),
            3 => Fate::Names,
            _ => Fate::Any(1 + random.below(7), (random.below(2) == 0).then_some(moment)),
        };
        for change in std::mem::take(&mut self.names) {
            let kept = match fate {
                Fate::Lost => false,
                Fate::Until(moment) | Fate::Any(_, Some(moment)) => change.order <= moment,
                Fate::Any(chance, None) => random.below(8) < chance,
                Fate::Names => true,
            };
            if kept {
                self.keep(&change);
            }
        }
        for node in &mut self.nodes {
            let file = match node {
                Node::Folder(folder) => {
                    folder.now = folder.durable.clone();
                    continue;
                }
                Node::File(file) => file,
            };
            if file.pending.is_empty() && file.now.len() == file.durable.len() {
                // After a failed sync they may differ all the same.
                file.now.copy_from_slice(&file.durable);
                continue;
            }
            for Pending { order, what } in std::mem::take(&mut file.pending) {
                survive(&mut file.durable, &what, sector, &mut random, |random| match fate {
                    Fate::Lost | Fate::Names => false,
                    Fate::Until(moment) if order == moment => random.below(2) == 0,
                    Fate::Until(moment) => order < moment,
                    Fate::Any(chance, _) => random.below(8) < chance,
                });
            }
            let longer = file.now.len() > file.durable.len();
            let length = match fate {
                Fate::Names => true,
                Fate::Any(..) => random.below(2) == 0,
                Fate::Lost | Fate::Until(_) => false,
            };
            if longer && length {
                file.durable.resize(file.now.len(), 0);
            }
            file.now = file.durable.clone();
        }
    }

    /// See `Sim::lose`.
    pub(super) fn lose(&mut self, path: &Path) -> Option<usize> {
        let (above, name) = path.parent().zip(path.file_name())?;
        let (folder, node) = (self.find(above)?, self.find(path)?);
        self.lead_for_good(folder, name.to_owned(), None);
        Some(node)
    }

    /// See `Sim::carry`.
    pub(super) fn carry(&mut self, from: &Path, to: &Path) -> bool {
        let Some((above, name)) = to.parent().zip(to.file_name()) else { return false };
        let (Some(folder), None) = (self.find(above), self.find(to)) else { return false };
        let Some(node) = self.lose(from) else { return false };
        self.lead_for_good(folder, name.to_owned(), Some(node));
        true
    }

    fn lead_for_good(&mut self, folder: usize, name: OsString, node: Option<usize>) {
        self.names.iter_mut().for_each(|c| c.set.retain(|(f, n, _)| (*f, n) != (folder, &name)));
        if let Node::Folder(folder) = &mut self.nodes[folder] {
            lead(&mut folder.now, &name, node);
            lead(&mut folder.durable, &name, node);
        }
    }

    /// See `Sim::copy_out`.
    pub(super) fn copy_out(&self, path: &Path, to: &Path) -> io::Result<()> {
        match self.find(path).map(|node| &self.nodes[node]) {
            None => Err(ErrorKind::NotFound.into()),
            Some(Node::File(file)) => std::fs::write(to, &file.now),
            Some(Node::Folder(folder)) => {
                std::fs::create_dir_all(to)?;
                folder
                    .now
                    .keys()
                    .try_for_each(|name| self.copy_out(&path.join(name), &to.join(name)))
            }
        }
    }

    /// See `Sim::flip`.
    pub(super) fn flip(&mut self, path: &Path, offset: u64) -> bool {
        let (Some(node), at) = (self.find(path), offset as usize) else { return false };
        let Node::File(file) = &mut self.nodes[node] else { return false };
        for bytes in [&mut file.now, &mut file.durable] {
            match bytes.get_mut(at) {
                Some(byte) => *byte ^= 0x10,
                None => return false,
            }
        }
        true
    }
}

fn lead(names: &mut BTreeMap<OsString, usize>, name: &OsString, node: Option<usize>) {
    match node {
        Some(node) => names.insert(name.clone(), node),
        None => names.remove(name),
    };
}

fn put(bytes: &mut Vec<u8>, offset: u64, new: &[u8]) {
    let from = offset as usize;
    if bytes.len() < from + new.len() {
        bytes.resize(from + new.len(), 0);
    }
    bytes[from..from + new.len()].copy_from_slice(new);
}

fn apply(bytes: &mut Vec<u8>, edit: &Edit) {
    match edit {
        Edit::Write(offset, new) => put(bytes, *offset, new),
        Edit::Truncate(len) => bytes.resize(*len as usize, 0),
    }
}

/// Keeps of an edit what `kept` says: a write sector by sector, now and then with one that is neither the
/// old nor the new.
fn survive(
    bytes: &mut Vec<u8>,
    edit: &Edit,
    sector: u64,
    random: &mut Random,
    mut kept: impl FnMut(&mut Random) -> bool,
) {
    let Edit::Write(offset, new) = edit else {
        if kept(random) {
            apply(bytes, edit);
        }
        return;
    };
    // Most writes survive or vanish whole.
    let whole = (random.below(4) > 0).then(|| kept(random));
    let mut at = 0;
    while at < new.len() {
        let here = offset + at as u64;
        let len = (new.len() - at).min((sector - here % sector) as usize);
        if whole.unwrap_or_else(|| kept(random)) {
            put(bytes, here, &new[at..at + len]);
            if whole.is_none() && random.below(16) == 0 {
                let torn = &mut bytes[here as usize..here as usize + len];
                torn.iter_mut().for_each(|byte| *byte = random.draw() as u8);
            }
        }
        at += len;
    }
}
