//! The embedded engine: one redb file, one fsynced transaction per batch.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition,
    TableError,
};

use super::{Backend, Batch, Change, Loaded, Marks};
use crate::error::BackendError;
use crate::types::Revision;

/// Key to (created, modified, value).
const ENTRIES: TableDefinition<&str, (u64, u64, &[u8])> = TableDefinition::new("entries");
/// Named numbers: the format and the marks.
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");

const FORMAT: u64 = 1;
const FILE_NAME: &str = "store.redb";

/// Reads happen once, so the engine's cache need only hold the upper pages of the trees.
const CACHE_BYTES: usize = 4 << 20;
/// A file with more free space than this, and more than half of it free, is compacted when opened.
const WASTE_BYTES_MAX: u64 = 32 << 20;

/// Opens what the engine writes to.
type Opener = Box<dyn Fn(&Path) -> Result<Database, BackendError> + Send>;

/// The engine, open or, after a failure to open again, closed.
pub(crate) struct Embedded {
    /// In errors: what cannot be used.
    path: PathBuf,
    opener: Opener,
    database: Option<Database>,
}

/// The embedded engine on a medium of the caller's own, which `medium` opens each time: for tests in
/// which the power fails or a disk lies.
///
/// # Errors
/// What is on the medium cannot be understood.
pub fn embedded_on<M: StorageBackend>(
    medium: impl Fn() -> M + Send + 'static,
) -> Result<Box<dyn Backend>, BackendError> {
    let opener: Opener = Box::new(move |path| {
        opened(path, Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(medium()))
    });
    let path = PathBuf::from("medium");
    Ok(Box::new(Embedded::opened(path, opener)?))
}

impl Embedded {
    /// Opens or creates the store's file in `folder`. Only its owner may read either.
    pub(crate) fn open(folder: &Path) -> Result<Self, BackendError> {
        let path = folder.join(FILE_NAME);
        let io = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| BackendError::Io { doing, path, source }
        };
        let mut maker = fs::DirBuilder::new();
        maker.recursive(true).mode(0o700).create(folder).map_err(io("create", folder))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.open(&path).map_err(io("create", &path))?;
        let mut engine = Self::opened(path, Box::new(open_database))?;
        if let Some(database) = &mut engine.database {
            guarded(&engine.path, || compact(database, &engine.path))?;
        }
        // The new file's name must be as durable as what will be in it.
        File::open(folder).and_then(|dir| dir.sync_all()).map_err(io("sync", folder))?;
        Ok(engine)
    }

    fn opened(path: PathBuf, opener: Opener) -> Result<Self, BackendError> {
        let database = guarded(&path, || opener(&path))?;
        let engine = Self { path, opener, database: Some(database) };
        guarded(&engine.path, || check_format(engine.database()?, &engine.path))?;
        Ok(engine)
    }

    /// Closing writes, and on a damaged file it can fail as badly as opening.
    fn close(&mut self) {
        let database = self.database.take();
        let closed = guarded(&self.path, || {
            drop(database);
            Ok(())
        });
        if let Err(error) = closed {
            tracing::error!(%error, "the store was not closed");
        }
    }

    fn database(&self) -> Result<&Database, BackendError> {
        self.database.as_ref().ok_or_else(|| BackendError::Engine {
            doing: "use",
            path: self.path.clone(),
            source: Box::new(redb::Error::DatabaseClosed),
        })
    }

    fn write(database: &Database, batch: &Batch<'_>) -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        {
            let mut entries = transaction.open_table(ENTRIES)?;
            for change in &batch.changes {
                match change {
                    Change::Put(put) => {
                        entries.insert(put.key, (put.created.0, put.modified.0, put.value))?;
                    }
                    Change::Delete { key } => {
                        entries.remove(key)?;
                    }
                }
            }
            let mut numbers = transaction.open_table(NUMBERS)?;
            numbers.insert("committed", batch.marks.committed.0)?;
            numbers.insert("reserved", batch.marks.reserved.0)?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn marks(database: &Database) -> Result<Marks, redb::Error> {
        let numbers = database.begin_read()?.open_table(NUMBERS)?;
        let number = |name| -> Result<Revision, redb::Error> {
            Ok(Revision(numbers.get(name)?.map_or(0, |number| number.value())))
        };
        Ok(Marks { committed: number("committed")?, reserved: number("reserved")? })
    }

    fn read(database: &Database, each: &mut dyn FnMut(Loaded<'_>)) -> Result<(), redb::Error> {
        let entries = match database.begin_read()?.open_table(ENTRIES) {
            Ok(entries) => entries,
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for row in entries.iter()? {
            let (key, value) = row?;
            let (created, modified, value) = value.value();
            let (created, modified) = (Revision(created), Revision(modified));
            each(Loaded { key: key.value(), created, modified, value });
        }
        Ok(())
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.close();
    }
}

impl Backend for Embedded {
    fn load(&mut self, each: &mut dyn FnMut(Loaded<'_>)) -> Result<Marks, BackendError> {
        let database = self.database()?;
        guarded(&self.path, || {
            Self::read(database, each).map_err(engine("read", &self.path))?;
            Self::marks(database).map_err(engine("read", &self.path))
        })
    }

    fn commit(&mut self, batch: &Batch<'_>) -> Result<(), BackendError> {
        Self::write(self.database()?, batch).map_err(engine("write", &self.path))
    }

    fn reopen(&mut self) -> Result<Marks, BackendError> {
        // Closed first: the engine holds a lock on the file, and refuses work after an I/O error.
        self.close();
        let database = self.database.insert((self.opener)(&self.path)?);
        Self::marks(database).map_err(engine("read", &self.path))
    }
}

/// Does what reads a file of which nothing is known yet. The engine panics on pages that cannot be;
/// that is a damaged file and no mistake of the program.
fn guarded<R>(
    path: &Path,
    work: impl FnOnce() -> Result<R, BackendError>,
) -> Result<R, BackendError> {
    if cfg!(panic = "abort") {
        return warned(path, work);
    }
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    done.unwrap_or_else(|_| Err(BackendError::Damaged { path: path.to_owned() }))
}

/// Where a panic ends the program, it says first which file it was.
fn warned<R>(path: &Path, work: impl FnOnce() -> R) -> R {
    let usual = Arc::new(panic::take_hook());
    let (then, path) = (Arc::clone(&usual), path.to_owned());
    panic::set_hook(Box::new(move |panic| {
        tracing::error!(path = %path.display(), "the store's file is damaged");
        then(panic);
    }));
    let done = work();
    panic::set_hook(Box::new(move |panic| usual(panic)));
    done
}

fn open_database(path: &Path) -> Result<Database, BackendError> {
    opened(path, Database::builder().set_cache_size(CACHE_BYTES).create(path))
}

fn opened(path: &Path, result: Result<Database, DatabaseError>) -> Result<Database, BackendError> {
    result.map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => BackendError::Locked { path: path.to_owned() },
        other => engine("open", path)(other.into()),
    })
}

/// Writes the format into a new file, refuses an unknown one.
fn check_format(database: &Database, path: &Path) -> Result<(), BackendError> {
    let read_or_write = || -> Result<u64, redb::Error> {
        let transaction = database.begin_write()?;
        let mut numbers = transaction.open_table(NUMBERS)?;
        let found = numbers.get("format")?.map(|number| number.value());
        if found.is_none() {
            numbers.insert("format", FORMAT)?;
        }
        drop(numbers);
        match found {
            Some(_) => transaction.abort()?,
            None => transaction.commit()?,
        }
        Ok(found.unwrap_or(FORMAT))
    };
    let found = read_or_write().map_err(engine("read", path))?;
    if found != FORMAT {
        let path = path.to_owned();
        return Err(BackendError::Format { path, found, supported: FORMAT });
    }
    Ok(())
}

/// Gives back space that deleted entries left, if it is worth the writing.
fn compact(database: &mut Database, path: &Path) -> Result<(), BackendError> {
    let measure = |database: &Database| -> Result<(u64, u64), redb::Error> {
        let transaction = database.begin_write()?;
        let stats = transaction.stats()?;
        let used = stats.stored_bytes() + stats.metadata_bytes();
        transaction.abort()?;
        Ok((used, stats.fragmented_bytes()))
    };
    let (used, _) = measure(database).map_err(engine("measure", path))?;
    let size = fs::metadata(path).map_or(0, |metadata| metadata.len());
    let waste = size.saturating_sub(used);
    if waste > WASTE_BYTES_MAX && waste > size / 2 {
        tracing::info!(path = %path.display(), size, used, "compacting the store");
        database.compact().map_err(|error| engine("compact", path)(error.into()))?;
    }
    Ok(())
}

fn engine(doing: &'static str, path: &Path) -> impl FnOnce(redb::Error) -> BackendError {
    let path = path.to_owned();
    move |source| BackendError::Engine { doing, path, source: Box::new(source) }
}
