//! A simulated disk with one folder.
//!
//! If a process is killed, nothing that it wrote is lost. If the power fails, everything that was synced is kept. Of
//! each write after the last sync, the disk keeps an arbitrary part of the sectors. It also keeps an arbitrary part of
//! the changes of file names after the last sync. A failed sync makes the system forget the data that it should have
//! written to the disk.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, ErrorKind, IoSlice},
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tapfan::internals::spool::{Fs, Listed};

/// The size of a sector, in bytes. It is so small that a power loss often keeps only parts of records and checkpoints.
const SECTOR: usize = 8;

/// The size of a page of the system's cache, in bytes. A write that lies within one page reaches the cache completely
/// or not at all, even if the process dies.
const PAGE: usize = 128;

#[derive(Clone, Default)]
pub(crate) struct Disk(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    names: Names,
    durable_names: Names,
    /// The changes of file names since the last sync of the folder.
    changes: Vec<Change>,
    is_locked: bool,
    /// The number of further calls before the process dies.
    calls_left: Option<u32>,
    is_dead: bool,
    faults: Vec<Fault>,
    dice: Dice,
    /// The calls that changed something, in their order. Tests check this order.
    log: Vec<String>,
}

type Names = BTreeMap<String, usize>;

#[derive(Default, Clone)]
struct Inode {
    /// The content of the file as processes see it.
    content: Vec<u8>,
    durable: Vec<u8>,
    writes: Vec<Write>,
}

#[derive(Clone)]
enum Write {
    Data { at: usize, bytes: Vec<u8> },
    Length(usize),
}

enum Change {
    Link(String, usize),
    Unlink(String),
    Rename(String, String, usize),
}

/// An open file.
pub(crate) struct Handle {
    inode: usize,
    lock: Option<Rc<RefCell<State>>>,
}

/// A call of the file system that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) call: Call,
    /// The number of calls of this kind that still succeed before the failures.
    pub(crate) skip: u8,
    /// The number of calls of this kind that fail.
    pub(crate) times: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Create,
    Read,
    Write,
    Truncate,
    Sync,
    Rename,
    Remove,
    SyncFolder,
}

impl Call {
    pub(crate) const ALL: [Self; 8] = [
        Self::Create,
        Self::Read,
        Self::Write,
        Self::Truncate,
        Self::Sync,
        Self::Rename,
        Self::Remove,
        Self::SyncFolder,
    ];
}

/// A generator of pseudo-random numbers.
struct Dice(u64);

impl Default for Dice {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        // The xorshift64 generator.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).expect("48 bits") % bound.max(1)
    }
}

// === impl Inode ===

impl Inode {
    fn write(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[at..end].copy_from_slice(bytes);
    }

    fn apply(content: &mut Vec<u8>, write: &Write) {
        match write {
            Write::Data { at, bytes } => Self::write(content, *at, bytes),
            Write::Length(length) => content.resize(*length, 0),
        }
    }

    /// Simulates a power loss for one file: keeps an arbitrary part of the writes and forgets the others. Each sector
    /// is kept with the probability `keep` / 4.
    fn tear(&mut self, dice: &mut Dice, keep: usize) {
        let mut longest = self.durable.len();
        for write in std::mem::take(&mut self.writes) {
            match &write {
                Write::Data { at, bytes } => {
                    longest = longest.max(at + bytes.len());
                    for (index, sector) in bytes.chunks(SECTOR).enumerate() {
                        if dice.below(4) < keep {
                            Self::write(&mut self.durable, at + index * SECTOR, sector);
                        }
                    }
                }
                Write::Length(_) if dice.below(4) < keep => Self::apply(&mut self.durable, &write),
                Write::Length(_) => {}
            }
        }
        // A power loss may keep the new length of a file although it does not keep the data. The file then ends in
        // zeros.
        if dice.below(4) < keep && self.durable.len() < longest {
            self.durable.resize(longest, 0);
        }
    }
}

// === impl State ===

impl State {
    /// Counts a call of the file system. Returns an error if the process is dead or if this call must fail.
    fn call(&mut self, call: Call, what: &str) -> io::Result<()> {
        if self.is_dead {
            return Err(io::Error::other("the process is dead"));
        }
        if let Some(left) = &mut self.calls_left {
            if *left == 0 {
                self.is_dead = true;
                return Err(io::Error::other("the process dies"));
            }
            *left -= 1;
        }
        if call != Call::Read {
            self.log.push(format!("{call:?} {what}"));
        }
        let mut faults = self.faults.iter_mut();
        let fault = faults.find(|fault| fault.call == call && fault.times > 0);
        if let Some(fault) = fault {
            if fault.skip > 0 {
                fault.skip -= 1;
            } else {
                fault.times -= 1;
                let kind = match call {
                    Call::Write | Call::Create => ErrorKind::StorageFull,
                    _ => ErrorKind::Other,
                };
                return Err(kind.into());
            }
        }
        Ok(())
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    fn inode(&self, name: &str) -> io::Result<usize> {
        self.names
            .get(name)
            .copied()
            .ok_or(ErrorKind::NotFound.into())
    }

    fn name_of(&self, inode: usize) -> String {
        let name = self.names.iter().find(|(_, it)| **it == inode);
        name.map_or_else(|| "(deleted)".to_owned(), |(name, _)| name.clone())
    }
}

impl Change {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Link(name, inode) => drop(names.insert(name.clone(), *inode)),
            Self::Unlink(name) => drop(names.remove(name)),
            Self::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

// === impl Disk ===

impl Disk {
    /// Makes the process die after this many further calls.
    pub(crate) fn die_in(&self, calls: u32) {
        self.0.borrow_mut().calls_left = Some(calls);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.0.borrow().is_dead
    }

    pub(crate) fn fail(&self, fault: Fault) {
        self.0.borrow_mut().faults.push(fault);
    }

    /// Starts a new process after the old one has ended or was killed. All data that the old process wrote is still
    /// there.
    pub(crate) fn restart(&self) {
        let mut state = self.0.borrow_mut();
        state.is_dead = false;
        state.calls_left = None;
        state.faults.clear();
        state.log.clear();
    }

    /// Starts a new process after a power loss.
    pub(crate) fn lose_power(&self, seed: u64) {
        self.restart();
        let mut state = self.0.borrow_mut();
        let state = &mut *state;
        state.dice = Dice(seed | 1);
        let keep = state.dice.below(5);
        for inode in &mut state.inodes {
            inode.tear(&mut state.dice, keep);
            inode.content.clone_from(&inode.durable);
        }
        for change in std::mem::take(&mut state.changes) {
            if state.dice.below(4) < keep {
                change.apply(&mut state.durable_names);
            }
        }
        state.names.clone_from(&state.durable_names);
    }

    /// Returns whether a file has content that will never be on the disk, because a sync has failed.
    pub(crate) fn has_forgotten(&self) -> bool {
        let state = self.0.borrow();
        state.names.values().any(|inode| {
            let inode = &state.inodes[*inode];
            let mut durable = inode.durable.clone();
            for write in &inode.writes {
                Inode::apply(&mut durable, write);
            }
            durable != inode.content
        })
    }

    /// Returns the calls that have changed something since the start of the process.
    pub(crate) fn log(&self) -> Vec<String> {
        self.0.borrow().log.clone()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.borrow().names.keys().cloned().collect()
    }

    pub(crate) fn content(&self, name: &str) -> Vec<u8> {
        let state = self.0.borrow();
        let inode = state.inode(name).expect("a file");
        state.inodes[inode].content.clone()
    }

    /// Creates or replaces a file, as a program other than the router would do it.
    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        let mut state = self.0.borrow_mut();
        let inode = state.inodes.len();
        state.inodes.push(Inode {
            content: content.to_owned(),
            durable: content.to_owned(),
            writes: Vec::new(),
        });
        state.names.insert(name.to_owned(), inode);
        state.durable_names.insert(name.to_owned(), inode);
    }

    /// Changes a file in place.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.0.borrow_mut();
        let inode = state.inode(name).expect("a file");
        let inode = &mut state.inodes[inode];
        change(&mut inode.content);
        inode.durable.clone_from(&inode.content);
        inode.writes.clear();
    }

    pub(crate) fn delete(&self, name: &str) {
        let mut state = self.0.borrow_mut();
        state.names.remove(name).expect("a file");
        state.durable_names.remove(name);
    }

    /// Returns another disk that has the same files.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::default();
        for name in self.names() {
            copy.put(&name, &self.content(&name));
        }
        copy
    }
}

impl Fs for Disk {
    type File = Handle;

    fn lock(&self, name: &str) -> io::Result<Option<Handle>> {
        let mut state = self.0.borrow_mut();
        state.call(Call::Read, name)?;
        if std::mem::replace(&mut state.is_locked, true) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let lock = Some(Rc::clone(&self.0));
        let inode = usize::MAX;
        Ok(Some(Handle { inode, lock }))
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        let mut state = self.0.borrow_mut();
        state.call(Call::Read, "")?;
        let listed = |(name, inode): (&String, &usize)| Listed {
            name: name.clone(),
            length: state.inodes[*inode].content.len() as u64,
            modified: now(),
        };
        Ok(state.names.iter().map(listed).collect())
    }

    fn create(&self, name: &str) -> io::Result<Handle> {
        let mut state = self.0.borrow_mut();
        state.call(Call::Create, name)?;
        if state.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.change(Change::Link(name.to_owned(), inode));
        Ok(Handle { inode, lock: None })
    }

    fn open(&self, name: &str) -> io::Result<Handle> {
        let mut state = self.0.borrow_mut();
        state.call(Call::Read, name)?;
        let inode = state.inode(name)?;
        Ok(Handle { inode, lock: None })
    }

    fn open_to_read(&self, name: &str) -> io::Result<Handle> {
        self.open(name)
    }

    fn is_locked(&self, _: &str) -> io::Result<Option<bool>> {
        Ok(Some(self.0.borrow().is_locked))
    }

    fn read_at(&self, file: &Handle, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut state = self.0.borrow_mut();
        state.call(Call::Read, "")?;
        let content = &state.inodes[file.inode].content;
        let at = usize::try_from(at).expect("small").min(content.len());
        let length = buffer.len().min(content.len() - at);
        buffer[..length].copy_from_slice(&content[at..at + length]);
        Ok(length)
    }

    fn write_at(&self, file: &Handle, parts: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        let mut state = self.0.borrow_mut();
        let name = state.name_of(file.inode);
        let was_dead = state.is_dead;
        let result = state.call(Call::Write, &name);
        let at = usize::try_from(at).expect("small");
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        if result.is_err() {
            // If a write fails or the process dies during it, the beginning of the data may have been written. If all
            // the data is within one page, nothing or everything was written.
            let is_in_page = at / PAGE == (at + bytes.len() - 1) / PAGE;
            let written = match state.dice.below(bytes.len() + 1) {
                _ if was_dead => 0,
                some if is_in_page => some / bytes.len() * bytes.len(),
                some => some,
            };
            bytes.truncate(written);
        }
        let length = bytes.len();
        if length > 0 {
            let inode = &mut state.inodes[file.inode];
            Inode::write(&mut inode.content, at, &bytes);
            inode.writes.push(Write::Data { at, bytes });
        }
        result.map(|()| length)
    }

    fn truncate(&self, file: &Handle, length: u64) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let name = state.name_of(file.inode);
        state.call(Call::Truncate, &name)?;
        let length = usize::try_from(length).expect("small");
        let inode = &mut state.inodes[file.inode];
        inode.content.resize(length, 0);
        inode.writes.push(Write::Length(length));
        Ok(())
    }

    fn sync(&self, file: &Handle) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let state = &mut *state;
        let name = state.name_of(file.inode);
        let result = state.call(Call::Sync, &name);
        if state.is_dead {
            return result;
        }
        let inode = &mut state.inodes[file.inode];
        if result.is_err() {
            let keep = state.dice.below(5);
            inode.tear(&mut state.dice, keep);
            return result;
        }
        for write in std::mem::take(&mut inode.writes) {
            Inode::apply(&mut inode.durable, &write);
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.call(Call::Rename, to)?;
        let inode = state.inode(from)?;
        state.change(Change::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.call(Call::Remove, name)?;
        state.inode(name)?;
        state.change(Change::Unlink(name.to_owned()));
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let state = &mut *state;
        state.call(Call::SyncFolder, "")?;
        for change in std::mem::take(&mut state.changes) {
            change.apply(&mut state.durable_names);
        }
        Ok(())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(disk) = &self.lock {
            disk.borrow_mut().is_locked = false;
        }
    }
}

/// Returns the time of the wall clock in the tests.
pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}
