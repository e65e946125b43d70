//! The store's file when the power fails, or when the disk changes what was written.

use std::collections::BTreeMap;
use std::io;
use std::panic;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use minik_store::{Backend, BackendError, Batch, Change, Loaded, Marks, Revision, embedded_on};
use redb::StorageBackend;

/// No file may ask for more, whatever it says of itself.
const DISK_BYTES_MAX: usize = 64 << 20;

/// Keys with the first byte and the length of their values.
type Content = BTreeMap<String, (u8, usize)>;

/// A first byte that decides what happens to the file, then one batch per byte, then where.
pub fn store(data: &[u8]) {
    let [what, at @ .., batches] = data.first_chunk::<6>().copied().unwrap_or_default();
    let script = data.get(6..).unwrap_or_default();
    let script = &script[..script.len().min(1 + usize::from(batches % 12))];
    let place = u32::from_le_bytes(at);
    let history = write(script);
    if what.is_multiple_of(2) {
        power_fails(&history, place, what)
    } else {
        is_damaged(&history, place, what)
    }
}

/// What was written, and what was acknowledged when.
struct History {
    /// In the order in which the engine did it.
    steps: Vec<Step>,
    /// After how many steps was this acknowledged.
    acknowledged: Vec<(usize, Content)>,
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize, Vec<u8>),
    Resize(usize),
    Sync,
}

fn write(script: &[u8]) -> History {
    let disk = Disk::default();
    let medium = disk.clone();
    let mut backend = embedded_on(move || medium.clone()).expect("an empty medium");
    let mut content = Content::new();
    let mut acknowledged = vec![(disk.steps().len(), content.clone())];
    for (number, byte) in script.iter().enumerate() {
        commit(&mut *backend, &mut content, *byte, number as u64 + 1).expect("the disk works");
        acknowledged.push((disk.steps().len(), content.clone()));
    }
    drop(backend);
    let steps = disk.steps().clone();
    History { steps, acknowledged }
}

/// One batch: half of them delete, sizes go from a byte to many pages.
fn commit(
    backend: &mut dyn Backend,
    content: &mut Content,
    byte: u8,
    revision: u64,
) -> Result<(), BackendError> {
    let key = format!("key/{}", byte % 7);
    let revision = Revision(revision);
    let size = 1 + usize::from(byte >> 3) * 300;
    let value = vec![byte; size];
    let change = if byte & 4 == 0 || !content.contains_key(&key) {
        content.insert(key.clone(), (byte, size));
        Change::Put(Loaded { key: &key, created: revision, modified: revision, value: &value })
    } else {
        content.remove(&key);
        Change::Delete { key: &key }
    };
    let marks = Marks { committed: revision, reserved: revision };
    backend.commit(&Batch { changes: vec![change], marks })
}

/// Whatever was acknowledged is there; of what was under way, all or nothing.
fn power_fails(history: &History, place: u32, what: u8) {
    // A medium without even a format is a new one.
    let first = history.acknowledged[0].0;
    let end = first + place as usize % (history.steps.len() - first + 1);
    let synced = history.steps[..end].iter().rposition(|step| matches!(step, Step::Sync));
    let synced = synced.map_or(0, |at| at + 1);
    let mut bytes = Vec::new();
    history.steps[..synced].iter().for_each(|step| step.play(&mut bytes));
    // Since then the disk did some of it, in no order, and one of the writes in part.
    let mut dice = place.wrapping_mul(2_654_435_761) ^ u32::from(what);
    for step in &history.steps[synced..end] {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match (dice >> 30, step) {
            (0, Step::Write(..)) => {}
            (1, Step::Write(at, written)) => {
                Step::Write(*at, written[..written.len() / 2].to_vec()).play(&mut bytes);
            }
            (_, step) => step.play(&mut bytes),
        }
    }
    let found = read(bytes).unwrap_or_else(|error| panic!("after a power failure: {error:?}"));
    let done = history.acknowledged.iter().rposition(|(at, _)| *at <= end).unwrap_or_default();
    let mut allowed = history.acknowledged[done..].iter().take(2).map(|(_, content)| content);
    assert!(allowed.any(|content| *content == found), "{found:?} after {end} steps");
}

/// A file that is not as it was written is read or refused.
fn is_damaged(history: &History, place: u32, what: u8) {
    let mut bytes = Vec::new();
    history.steps.iter().for_each(|step| step.play(&mut bytes));
    let at = place as usize % bytes.len();
    match what >> 6 {
        0 => bytes.truncate(at),
        1 => bytes[at] ^= what | 1,
        2 => bytes[at] = 0,
        _ => {
            let end = (at + 4096).min(bytes.len());
            bytes[at..end].fill(what);
        }
    }
    // The engine's panics are caught by the store; libFuzzer would end the program for them.
    let usual = cfg!(feature = "libfuzzer").then(panic::take_hook);
    if usual.is_some() {
        panic::set_hook(Box::new(|_| {}));
    }
    let _ = read(bytes);
    if let Some(usual) = usual {
        panic::set_hook(usual);
    }
}

fn read(bytes: Vec<u8>) -> Result<Content, BackendError> {
    let disk = Disk::default();
    disk.lock().bytes = bytes;
    let mut backend = embedded_on(move || disk.clone())?;
    let mut content = Content::new();
    backend.load(&mut |loaded| {
        let first = loaded.value.first().copied().unwrap_or_default();
        content.insert(loaded.key.to_owned(), (first, loaded.value.len()));
    })?;
    Ok(content)
}

impl Step {
    fn play(&self, bytes: &mut Vec<u8>) {
        match self {
            Step::Write(at, written) => {
                let end = at + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*at..end].copy_from_slice(written);
            }
            Step::Resize(length) => bytes.resize(*length, 0),
            Step::Sync => {}
        }
    }
}

/// A disk that remembers what was done to it. Clones are the same disk.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<Written>>);

#[derive(Debug, Default)]
struct Written {
    bytes: Vec<u8>,
    steps: Vec<Step>,
}

impl Disk {
    fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn steps(&self) -> Vec<Step> {
        self.lock().steps.clone()
    }

    fn step(&self, step: Step) {
        let mut disk = self.lock();
        step.play(&mut disk.bytes);
        disk.steps.push(step);
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.lock().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let disk = self.lock();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(out.len());
        let there = disk.bytes.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(there);
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > DISK_BYTES_MAX {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.step(Step::Resize(length));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.step(Step::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        if start.saturating_add(data.len()) > DISK_BYTES_MAX {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.step(Step::Write(start, data.to_vec()));
        Ok(())
    }
}
