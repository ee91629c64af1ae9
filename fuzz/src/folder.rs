//! A folder in memory, for the spool.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, ErrorKind, IoSlice},
    rc::Rc,
    time::UNIX_EPOCH,
};

use tapfan::internals::spool::{Fs, Listed};

/// A folder whose calls never fail. All clones share the same files.
#[derive(Debug, Clone, Default)]
pub struct Folder(Rc<RefCell<BTreeMap<String, Content>>>);

/// The content of a file is shared, so that an open file stays usable after its name was removed.
type Content = Rc<RefCell<Vec<u8>>>;

// === impl Folder ===

impl Folder {
    /// Creates or replaces a file.
    pub fn put(&self, name: &str, content: &[u8]) {
        let content = Rc::new(RefCell::new(content.to_owned()));
        self.0.borrow_mut().insert(name.to_owned(), content);
    }

    /// Changes the files one after the other, in the order of their names.
    pub fn change(&self, mut change: impl FnMut(&str, &mut Vec<u8>)) {
        for (name, content) in self.0.borrow().iter() {
            change(name, &mut content.borrow_mut());
        }
    }
}

impl Fs for Folder {
    type File = Content;

    fn lock(&self, _: &str) -> io::Result<Option<Content>> {
        Ok(None)
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        let files = self.0.borrow();
        let listed = files.iter().map(|(name, content)| Listed {
            name: name.clone(),
            length: content.borrow().len() as u64,
            modified: UNIX_EPOCH,
        });
        Ok(listed.collect())
    }

    fn create(&self, name: &str) -> io::Result<Content> {
        let mut files = self.0.borrow_mut();
        if files.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        Ok(Rc::clone(files.entry(name.to_owned()).or_default()))
    }

    fn open(&self, name: &str) -> io::Result<Content> {
        let files = self.0.borrow();
        files.get(name).cloned().ok_or(ErrorKind::NotFound.into())
    }

    fn open_to_read(&self, name: &str) -> io::Result<Content> {
        self.open(name)
    }

    fn is_locked(&self, _: &str) -> io::Result<Option<bool>> {
        Ok(None)
    }

    fn read_at(&self, file: &Content, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let content = file.borrow();
        let at = usize::try_from(at).unwrap_or(usize::MAX).min(content.len());
        let length = buffer.len().min(content.len() - at);
        buffer[..length].copy_from_slice(&content[at..at + length]);
        Ok(length)
    }

    fn write_at(&self, file: &Content, parts: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let at = usize::try_from(at).expect("a small file");
        let mut content = file.borrow_mut();
        let length = content.len().max(at + bytes.len());
        content.resize(length, 0);
        content[at..at + bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn truncate(&self, file: &Content, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).expect("a small file");
        file.borrow_mut().resize(length, 0);
        Ok(())
    }

    fn sync(&self, _: &Content) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.0.borrow_mut();
        let content = files.remove(from).ok_or(ErrorKind::NotFound)?;
        files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = self.0.borrow_mut().remove(name);
        removed.map(drop).ok_or(ErrorKind::NotFound.into())
    }

    fn sync_folder(&self) -> io::Result<()> {
        Ok(())
    }
}
