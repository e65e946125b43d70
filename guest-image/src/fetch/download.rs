//! One file of an image: into `<name>.part`, continued where an earlier try stopped, verified, renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use reqwest::Url;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::digest;
use crate::error::{ImageError, on_file};
use crate::manifest::FileEntry;
use crate::progress::Progress;
use crate::source;

use super::transport::{Answer, Transport};

/// How often one mirror may break off before the next one is asked.
const BREAKS_MAX: usize = 3;

/// A download to be done.
pub(super) struct Download<'a> {
    pub(super) transport: &'a Transport,
    pub(super) entry: &'a FileEntry,
    pub(super) path: PathBuf,
    /// In the order they are tried.
    pub(super) urls: Vec<Url>,
    pub(super) progress: &'a dyn Progress,
}

/// Kept beside a `.part` so that a later try can continue it.
#[derive(Debug, Serialize, Deserialize)]
struct PartNote {
    sha256: String,
    url: String,
    validator: Option<String>,
}

/// The beginning of a file that is here already.
struct Part {
    file: File,
    length: u64,
    hasher: Sha256,
}

impl Download<'_> {
    /// Tries the mirrors in order. Only what is wrong on this machine ends it early.
    pub(super) async fn run(&self) -> Result<(), ImageError> {
        let outcome = self.try_mirrors().await;
        let nothing = fs::metadata(self.part_path()).is_ok_and(|meta| meta.len() == 0);
        if outcome.is_err() && nothing {
            self.remove_part();
        }
        outcome
    }

    async fn try_mirrors(&self) -> Result<(), ImageError> {
        let mut attempts = Vec::new();
        for url in &self.urls {
            match self.try_mirror(url).await {
                Ok(()) => {
                    self.progress.finished(&self.entry.name);
                    return Ok(());
                }
                Err(error @ (ImageError::File { .. } | ImageError::DiskFull { .. })) => {
                    return Err(error);
                }
                Err(error) => {
                    self.progress.note(&format!("{}: {error}", self.entry.name));
                    attempts.push(error);
                }
            }
        }
        Err(sum_up(&self.entry.name, attempts))
    }

    async fn try_mirror(&self, url: &Url) -> Result<(), ImageError> {
        let mut breaks = 0;
        loop {
            let part = self.open_part()?;
            let continued = part.length > 0;
            match self.once(url, part).await {
                // A bad byte may have come from the earlier try: once more from the start.
                Err(ImageError::Digest { .. }) if continued => {
                    self.progress.restarted(&self.entry.name);
                }
                Err(error @ ImageError::Unreachable { .. }) => {
                    breaks += 1;
                    if breaks >= BREAKS_MAX {
                        return Err(error);
                    }
                }
                // What we have does not fit to what the server has: from the start.
                Err(ImageError::Status { status, .. })
                    if continued && status.starts_with("416") =>
                {
                    self.remove_part();
                }
                outcome => return outcome,
            }
        }
    }

    /// One request, to the end or until it breaks. A break keeps the part, a wrong content does not.
    async fn once(&self, url: &Url, mut part: Part) -> Result<(), ImageError> {
        self.progress.started(&self.entry.name, self.entry.size, part.length);
        if part.length < self.entry.size {
            let validator = self.validator_for(url);
            let answer = self.transport.get(url, part.length, validator.as_deref()).await?;
            if answer.start == 0 && part.length > 0 {
                part = self.empty_part()?;
                self.progress.restarted(&self.entry.name);
            }
            self.keep_note(url, &answer)?;
            self.receive(url, &mut part, answer).await?;
        }
        self.finish(url, part)
    }

    async fn receive(
        &self,
        url: &Url,
        part: &mut Part,
        mut answer: Answer,
    ) -> Result<(), ImageError> {
        while let Some(piece) = answer.next().await? {
            let length = part.length + piece.len() as u64;
            if length > self.entry.size {
                self.remove_part();
                return Err(self.wrong_size(url, length));
            }
            part.file.write_all(&piece).map_err(|error| self.not_written(error, part.length))?;
            part.length = length;
            part.hasher.update(&piece);
            self.progress.advanced(&self.entry.name, piece.len() as u64);
        }
        Ok(())
    }

    fn finish(&self, url: &Url, part: Part) -> Result<(), ImageError> {
        if part.length != self.entry.size {
            self.remove_part();
            return Err(self.wrong_size(url, part.length));
        }
        let actual = hex::encode(part.hasher.finalize());
        if actual != self.entry.sha256 {
            self.remove_part();
            return Err(ImageError::Digest {
                file: self.entry.name.clone(),
                from: source::shown(url),
                expected: self.entry.sha256.clone(),
                actual,
            });
        }
        part.file.sync_all().map_err(|error| self.not_written(error, part.length))?;
        fs::rename(self.part_path(), &self.path).map_err(on_file("replace", &self.path))?;
        drop(fs::remove_file(self.note_path()));
        Ok(())
    }

    /// What an earlier try left, if it belongs to this very content; its digest is computed anew.
    fn open_part(&self) -> Result<Part, ImageError> {
        let path = self.part_path();
        let belongs = self.note().is_some_and(|note| note.sha256 == self.entry.sha256);
        let length = fs::metadata(&path).map_or(0, |meta| meta.len());
        if !belongs || length == 0 || length > self.entry.size {
            return self.empty_part();
        }
        let mut hasher = Sha256::new();
        let length = digest::feed(&mut hasher, &path)?;
        let mut file =
            OpenOptions::new().write(true).open(&path).map_err(on_file("open", &path))?;
        file.seek(SeekFrom::Start(length)).map_err(on_file("open", &path))?;
        Ok(Part { file, length, hasher })
    }

    fn empty_part(&self) -> Result<Part, ImageError> {
        let path = self.part_path();
        let file = File::create(&path).map_err(on_file("write", path))?;
        Ok(Part { file, length: 0, hasher: Sha256::new() })
    }

    /// Only this server's own word says that its file is unchanged. With another one the digest decides in the end.
    fn validator_for(&self, url: &Url) -> Option<String> {
        self.note().filter(|note| note.url == source::shown(url)).and_then(|note| note.validator)
    }

    fn note(&self) -> Option<PartNote> {
        serde_json::from_slice(&fs::read(self.note_path()).ok()?).ok()
    }

    fn keep_note(&self, url: &Url, answer: &Answer) -> Result<(), ImageError> {
        let note = PartNote {
            sha256: self.entry.sha256.clone(),
            url: source::shown(url),
            validator: answer.validator.clone(),
        };
        let text = serde_json::to_vec(&note).unwrap_or_default();
        let path = self.note_path();
        fs::write(path, text).map_err(|error| self.not_written(error, 0))
    }

    fn remove_part(&self) {
        drop(fs::remove_file(self.part_path()));
        drop(fs::remove_file(self.note_path()));
    }

    fn part_path(&self) -> PathBuf {
        beside(&self.path, ".part")
    }

    fn note_path(&self) -> PathBuf {
        beside(&self.path, ".part.json")
    }

    fn wrong_size(&self, url: &Url, actual: u64) -> ImageError {
        ImageError::Size {
            file: self.entry.name.clone(),
            url: source::shown(url),
            expected: self.entry.size,
            actual,
        }
    }

    /// `written` are the bytes that are safely in the part.
    fn not_written(&self, error: std::io::Error, written: u64) -> ImageError {
        if error.kind() != ErrorKind::StorageFull {
            return on_file("write", self.part_path())(error);
        }
        // A full disk should not stay full because of us.
        self.remove_part();
        ImageError::DiskFull {
            path: self.path.clone(),
            file: self.entry.name.clone(),
            needed: self.entry.size.saturating_sub(written),
            free: 0,
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// One failure speaks for itself; several are listed.
pub(super) fn sum_up(file: &str, mut attempts: Vec<ImageError>) -> ImageError {
    if attempts.len() == 1 {
        return attempts.remove(0);
    }
    let attempts = attempts.iter().map(ToString::to_string).collect();
    ImageError::EveryMirror { file: file.into(), attempts }
}
