//! A disk that loses power: it counts operations, stops at the chosen one, and forgets what was not synced.
//!
//! After a cut, the names in a folder are those of its last sync plus any prefix of the changes since (a file system's
//! journal keeps their order), and the bytes of a file are those of its last sync, or any part of the newer ones, or newer
//! ones with a hole of zeros in them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

use fleetward_base::{Rng, SeededRng};

use super::{Disk, folder_of};

/// Where the power is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Never,
    /// The operation with this number, from zero, does not happen; nor does anything after it.
    Before(u64),
    /// It happens and is the last that does.
    After(u64),
}

/// What is left of changes that were not synced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loss {
    All,
    Nothing,
    Chance(u64),
}

#[derive(Clone, Default, Debug)]
struct Content {
    synced: Vec<u8>,
    current: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Change {
    Link(String, usize),
    Unlink(String),
}

#[derive(Default, Debug)]
struct State {
    contents: Vec<Content>,
    durable: BTreeMap<String, usize>,
    current: BTreeMap<String, usize>,
    pending: Vec<Change>,
    operations: u64,
    cut: Option<Cut>,
    dead: bool,
}

#[derive(Debug)]
pub(crate) struct SimDisk(Mutex<State>);

pub(crate) fn power_is_out() -> io::Error {
    io::Error::other("power cut")
}

impl SimDisk {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    pub(crate) fn cut_at(&self, cut: Cut) {
        let mut state = self.0.lock().unwrap();
        state.cut = Some(cut);
        state.operations = 0;
    }

    pub(crate) fn operations(&self) -> u64 {
        self.0.lock().unwrap().operations
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.0.lock().unwrap().dead
    }

    /// Something that is no operation of the disk, and that the power can fail before or after just as well.
    pub(crate) fn tick(&self) -> io::Result<()> {
        self.operate(|_state| Ok(()))
    }

    /// The power comes back.
    pub(crate) fn reboot(&self, loss: Loss) {
        let mut state = self.0.lock().unwrap();
        let rng = match loss {
            Loss::Chance(seed) => Some(SeededRng::new(seed)),
            _ => None,
        };
        let below = |rng: &Option<SeededRng>, bound: usize, otherwise: usize| match rng {
            Some(rng) => usize::try_from(rng.next_u64() % (bound as u64 + 1)).unwrap(),
            None => otherwise,
        };
        let pending = std::mem::take(&mut state.pending);
        let all = if matches!(loss, Loss::All) { 0 } else { pending.len() };
        let kept = below(&rng, pending.len(), all);
        for change in pending.into_iter().take(kept) {
            apply(&mut state.durable, change);
        }
        for content in &mut state.contents {
            if matches!(loss, Loss::All) {
                content.current = content.synced.clone();
            } else if let Some(chance) = &rng
                && content.current != content.synced
            {
                let kept = below(&rng, content.current.len(), 0);
                content.current.truncate(kept);
                if chance.next_u64().is_multiple_of(2) && kept > 0 {
                    content.current[kept / 2..].fill(0);
                }
                if chance.next_u64().is_multiple_of(4) {
                    content.current = content.synced.clone();
                }
            }
            content.synced = content.current.clone();
        }
        state.current = state.durable.clone();
        (state.dead, state.cut, state.operations) = (false, None, 0);
    }

    fn operate<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.lock().unwrap();
        let number = state.operations;
        if state.dead || state.cut == Some(Cut::Before(number)) {
            state.dead = true;
            return Err(power_is_out());
        }
        state.operations += 1;
        let done = act(&mut state);
        if state.cut == Some(Cut::After(number)) {
            state.dead = true;
            return Err(power_is_out());
        }
        done
    }

    fn look<T>(&self, act: impl FnOnce(&State) -> T) -> io::Result<T> {
        let state = self.0.lock().unwrap();
        if state.dead { Err(power_is_out()) } else { Ok(act(&state)) }
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: Change) {
    match change {
        Change::Link(name, content) => drop(names.insert(name, content)),
        Change::Unlink(name) => drop(names.remove(&name)),
    }
}

impl State {
    fn change(&mut self, change: Change) {
        apply(&mut self.current, change.clone());
        self.pending.push(change);
    }

    fn content(&mut self, path: &str) -> io::Result<&mut Content> {
        let number = *self.current.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(&mut self.contents[number])
    }

    fn create(&mut self, path: &str) -> &mut Content {
        self.contents.push(Content::default());
        let number = self.contents.len() - 1;
        self.change(Change::Link(path.to_owned(), number));
        &mut self.contents[number]
    }
}

impl Disk for SimDisk {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        self.look(|state| state.current.get(path).map(|&number| state.contents[number].current.clone()))
    }

    fn scan(&self, path: &str, piece: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        let bytes = self.read(path)?;
        if let Some(bytes) = &bytes {
            bytes.chunks(3).for_each(piece);
        }
        Ok(bytes.is_some())
    }

    fn size(&self, path: &str) -> io::Result<Option<u64>> {
        Ok(self.read(path)?.map(|bytes| bytes.len() as u64))
    }

    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.operate(|state| {
            if !state.current.contains_key(path) {
                state.create(path);
            }
            state.content(path)?.current = bytes.to_vec();
            Ok(())
        })
    }

    fn append(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.operate(|state| {
            if !state.current.contains_key(path) {
                state.create(path);
            }
            state.content(path)?.current.extend_from_slice(bytes);
            Ok(())
        })
    }

    fn truncate(&self, path: &str, size: u64) -> io::Result<()> {
        self.operate(|state| {
            state.content(path)?.current.resize(usize::try_from(size).unwrap(), 0);
            Ok(())
        })
    }

    fn sync(&self, path: &str) -> io::Result<()> {
        self.operate(|state| {
            let content = state.content(path)?;
            content.synced = content.current.clone();
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.operate(|state| {
            let number = *state.current.get(from).ok_or(io::ErrorKind::NotFound)?;
            // A cut may see the file under both names, never under neither.
            state.change(Change::Link(to.to_owned(), number));
            state.change(Change::Unlink(from.to_owned()));
            Ok(())
        })
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.operate(|state| {
            if state.current.contains_key(path) {
                state.change(Change::Unlink(path.to_owned()));
            }
            Ok(())
        })
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.operate(|state| {
            let (mine, others) = std::mem::take(&mut state.pending).into_iter().partition(|change| {
                let (Change::Link(name, _) | Change::Unlink(name)) = change;
                folder_of(name) == folder
            });
            let mine: Vec<Change> = mine;
            mine.into_iter().for_each(|change| apply(&mut state.durable, change));
            state.pending = others;
            Ok(())
        })
    }

    fn make_folder(&self, _folder: &str) -> io::Result<()> {
        self.operate(|_state| Ok(()))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.look(|state| {
            let names = state.current.keys().filter(|name| folder_of(name) == folder);
            names.map(|name| name.rsplit('/').next().unwrap().to_owned()).collect()
        })
    }
}
