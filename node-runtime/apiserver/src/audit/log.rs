//! The writer: a thread that owns the file, turns it over when it is large, and forgets old ones.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use ::time::macros::format_description;
use ::time::{Duration, OffsetDateTime, PrimitiveDateTime};
use minik_config::AuditTarget;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tracing::{error, warn};

use super::Counts;
use crate::config::BuildError;

/// Bytes that may wait to be written.
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What one permit of the queue stands for, in bytes.
const PERMIT_BYTES: usize = 1024;
/// Lines that may wait, however short.
const PERMITS: usize = WAITING_BYTES_MAX / PERMIT_BYTES;
/// One megabyte of the settings, in bytes.
const MEGABYTE: u64 = 1024 * 1024;

enum Order {
    Line { bytes: Vec<u8>, _place: OwnedSemaphorePermit },
    Flush(oneshot::Sender<()>),
}

/// The way to the writer. The writer ends when this is dropped, after the last line.
pub(super) struct Log {
    orders: mpsc::UnboundedSender<Order>,
    /// Bounds what waits: lines take places by their length.
    places: Arc<Semaphore>,
    counts: Arc<Counts>,
}

impl Log {
    pub(super) fn open(target: &AuditTarget, counts: Arc<Counts>) -> Result<Log, BuildError> {
        let failed = |source| match target {
            AuditTarget::File { path, .. } => BuildError::AuditLog { path: path.clone(), source },
            AuditTarget::Output => BuildError::AuditLog { path: "-".into(), source },
        };
        let output = Output::open(target).map_err(failed)?;
        let (orders, received) = mpsc::unbounded_channel();
        let writer = Writer { output, counts: Arc::clone(&counts), failing: false };
        thread::Builder::new()
            .name("audit-log".to_owned())
            .spawn(move || writer.run(received))
            .map_err(failed)?;
        Ok(Log { orders, places: Arc::new(Semaphore::new(PERMITS)), counts })
    }

    /// Hands a line over; waits while too much waits already.
    pub(super) async fn write(&self, line: Vec<u8>) {
        let places = Arc::clone(&self.places);
        if let Ok(place) = places.acquire_many_owned(places_of(&line)).await {
            self.order(line, place);
        }
    }

    /// Hands a line over where nobody can wait. False when it has to be done by [`Log::write`].
    pub(super) fn try_write(&self, line: &mut Vec<u8>) -> bool {
        let places = Arc::clone(&self.places);
        let Ok(place) = places.try_acquire_many_owned(places_of(line)) else { return false };
        self.order(std::mem::take(line), place);
        true
    }

    fn order(&self, bytes: Vec<u8>, place: OwnedSemaphorePermit) {
        self.counts.events.fetch_add(1, Ordering::Relaxed);
        if self.orders.send(Order::Line { bytes, _place: place }).is_err() {
            self.counts.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.orders.send(Order::Flush(done)).is_ok() {
            // An error is the end of the writer, and there is nothing left to wait for.
            let _ = wait.await;
        }
    }
}

fn places_of(line: &[u8]) -> u32 {
    u32::try_from((line.len() / PERMIT_BYTES + 1).min(PERMITS)).unwrap_or(u32::MAX)
}

struct Writer {
    output: Output,
    counts: Arc<Counts>,
    /// Whether the last line could not be written: said once, not for each line.
    failing: bool,
}

impl Writer {
    fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        while let Some(order) = orders.blocking_recv() {
            match order {
                Order::Line { bytes, .. } => self.line(&bytes),
                // Who asked may have gone.
                Order::Flush(done) => drop(done.send(())),
            }
        }
    }

    fn line(&mut self, bytes: &[u8]) {
        match self.output.line(bytes) {
            Ok(()) if self.failing => {
                self.failing = false;
                warn!("the audit log can be written again");
            }
            Ok(()) => {}
            Err(error) => {
                self.counts.errors.fetch_add(1, Ordering::Relaxed);
                if !self.failing {
                    error!(%error, "the audit log cannot be written; lines are lost");
                }
                self.failing = true;
            }
        }
    }
}

enum Output {
    Standard,
    File(Rotating),
}

impl Output {
    fn open(target: &AuditTarget) -> io::Result<Output> {
        match target {
            AuditTarget::Output => Ok(Output::Standard),
            AuditTarget::File { path, size_max, backups_max, age_max } => {
                let mut file = Rotating {
                    path: path.clone(),
                    size_max: size_max.saturating_mul(MEGABYTE),
                    backups_max: *backups_max,
                    age_max_days: *age_max,
                    open: None,
                };
                file.open()?;
                Ok(Output::File(file))
            }
        }
    }

    fn line(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Output::Standard => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Output::File(file) => file.line(bytes, OffsetDateTime::now_utc()),
        }
    }
}

/// A file with its length that becomes an old one when it is large.
struct Rotating {
    path: PathBuf,
    /// In bytes; 0 never.
    size_max: u64,
    backups_max: usize,
    age_max_days: u64,
    open: Option<(File, u64)>,
}

impl Rotating {
    fn open(&mut self) -> io::Result<&mut (File, u64)> {
        if let Some(folder) = self.path.parent() {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(folder)?;
        }
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&self.path)?;
        let length = file.metadata()?.len();
        Ok(self.open.insert((file, length)))
    }

    fn line(&mut self, bytes: &[u8], now: OffsetDateTime) -> io::Result<()> {
        let full = |length: u64| {
            self.size_max > 0 && length > 0 && length + bytes.len() as u64 > self.size_max
        };
        if self.open.as_ref().is_some_and(|(_, length)| full(*length)) {
            self.rotate(now)?;
        }
        let (file, length) = match &mut self.open {
            Some(open) => open,
            None => self.open()?,
        };
        let written = file.write_all(bytes);
        // What was written of a line that failed is there, too.
        *length = file.metadata().map_or(*length + bytes.len() as u64, |data| data.len());
        written
    }

    fn rotate(&mut self, now: OffsetDateTime) -> io::Result<()> {
        self.open = None;
        fs::rename(&self.path, self.old_name(now))?;
        self.open()?;
        // Old files that stay are no reason to lose lines.
        if let Err(error) = self.forget(now) {
            warn!(%error, "old audit logs cannot be removed");
        }
        Ok(())
    }

    /// `audit-2026-01-31T08-15-00.000.log` beside `audit.log`.
    fn old_name(&self, now: OffsetDateTime) -> PathBuf {
        let (stem, extension) = self.name_parts();
        let mut at = now;
        loop {
            let time = at.format(&STAMP).unwrap_or_default();
            let path = self.path.with_file_name(format!("{stem}-{time}{extension}"));
            if !path.exists() {
                return path;
            }
            // Two in one millisecond.
            at += Duration::MILLISECOND;
        }
    }

    fn name_parts(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.unwrap_or_default().to_string_lossy().into_owned()
        };
        let extension = self.path.extension().map(|_| format!(".{}", text(self.path.extension())));
        (text(self.path.file_stem()), extension.unwrap_or_default())
    }

    /// Removes old files beyond the number and age that are kept.
    fn forget(&self, now: OffsetDateTime) -> io::Result<()> {
        let mut old = self.old_files()?;
        old.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        let oldest = match i64::try_from(self.age_max_days) {
            Ok(days @ 1..=1_000_000) => now.checked_sub(Duration::days(days)),
            _ => None,
        };
        for (index, (at, path)) in old.iter().enumerate() {
            let too_many = self.backups_max > 0 && index >= self.backups_max;
            if too_many || oldest.is_some_and(|oldest| *at < oldest) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn old_files(&self) -> io::Result<Vec<(OffsetDateTime, PathBuf)>> {
        let (stem, extension) = self.name_parts();
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let stamp = name
                .to_str()
                .and_then(|name| name.strip_prefix(stem.as_str())?.strip_prefix('-'))
                .and_then(|rest| rest.strip_suffix(extension.as_str()));
            let at = stamp.and_then(|stamp| PrimitiveDateTime::parse(stamp, &STAMP).ok());
            found.extend(at.map(|at| (at.assume_utc(), entry.path())));
        }
        Ok(found)
    }
}

/// The time in the name of an old file.
const STAMP: &[::time::format_description::BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]-[minute]-[second].[subsecond digits:3]");

#[cfg(test)]
mod tests {
    use ::time::macros::datetime;

    use super::*;

    fn rotating(folder: &Path, size_max: u64, backups_max: usize, age_max_days: u64) -> Rotating {
        let path = folder.join("log/audit.log");
        Rotating { path, size_max, backups_max, age_max_days, open: None }
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder.join("log")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_full_file_becomes_an_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = rotating(folder.path(), 10, 0, 0);
        let now = datetime!(2026-01-31 08:15:00.25 UTC);
        file.line(b"123456\n", now).unwrap();
        file.line(b"12\n", now).unwrap();
        assert_eq!(names(folder.path()), ["audit.log"]);
        file.line(b"34\n", now).unwrap();
        file.line(b"a line longer than a file may be\n", now).unwrap();
        assert_eq!(
            names(folder.path()),
            ["audit-2026-01-31T08-15-00.250.log", "audit-2026-01-31T08-15-00.251.log", "audit.log"]
        );
        let first = folder.path().join("log/audit-2026-01-31T08-15-00.250.log");
        assert_eq!(fs::read_to_string(first).unwrap(), "123456\n12\n");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&file.path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_that_is_there_is_continued() {
        let folder = tempfile::tempdir().unwrap();
        rotating(folder.path(), 10, 0, 0).line(b"12345678\n", OffsetDateTime::UNIX_EPOCH).unwrap();
        let mut again = rotating(folder.path(), 10, 0, 0);
        again.open().unwrap();
        again.line(b"9\n", OffsetDateTime::UNIX_EPOCH).unwrap();
        assert_eq!(names(folder.path()).len(), 2);
    }

    #[test]
    fn old_files_go_by_number_and_age() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = rotating(folder.path(), 1, 2, 10);
        for day in 1..=4 {
            let now = datetime!(2026-01-01 00:00 UTC) + Duration::days(day);
            file.line(b"x\n", now).unwrap();
        }
        fs::write(folder.path().join("log/audit-notes.log"), "mine").unwrap();
        assert_eq!(
            names(folder.path()),
            [
                "audit-2026-01-04T00-00-00.000.log",
                "audit-2026-01-05T00-00-00.000.log",
                "audit-notes.log",
                "audit.log"
            ]
        );
        file.line(b"x\n", datetime!(2026-02-01 00:00 UTC)).unwrap();
        assert_eq!(
            names(folder.path()),
            ["audit-2026-02-01T00-00-00.000.log", "audit-notes.log", "audit.log"]
        );
    }

    #[tokio::test]
    async fn lines_are_written_in_order_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let target =
            AuditTarget::File { path: path.clone(), size_max: 1, backups_max: 0, age_max: 0 };
        let counts = Arc::<Counts>::default();
        let log = Log::open(&target, Arc::clone(&counts)).unwrap();
        log.write(b"a\n".to_vec()).await;
        assert!(log.try_write(&mut b"b\n".to_vec()));
        log.flush().await;
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb\n");
        assert_eq!(counts.events.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_log_that_cannot_be_written_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let target = AuditTarget::File { path, size_max: 1, backups_max: 0, age_max: 0 };
        assert!(Log::open(&target, Arc::default()).is_err());
    }
}
