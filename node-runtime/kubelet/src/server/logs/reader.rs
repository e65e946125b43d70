//! Reads a log file from the right place, follows it, and the file after it when it is rotated.

use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::mpsc;

use super::End;
use super::filter::Filter;
use crate::server::inotify::Changes;

const BLOCK_BYTES: usize = 64 * 1024;

/// An open log.
pub(super) struct Reader {
    path: PathBuf,
    file: File,
    changes: Option<Changes>,
    /// The start of a line whose end is not written yet.
    rest: Vec<u8>,
    /// So many more lines are wanted: the log may grow while its tail is read.
    lines_left: Option<u64>,
}

impl Reader {
    /// Opens the log at its last `tail` lines, or at its start.
    pub(super) async fn open(path: &Path, tail: Option<i64>, follow: bool) -> io::Result<Self> {
        // Watched before it is read: nothing can be written in between unnoticed.
        let changes = match path.parent().filter(|_| follow) {
            Some(folder) => Some(Changes::of(folder)?),
            None => None,
        };
        let mut file = File::open(path).await?;
        let lines = tail.and_then(|lines| u64::try_from(lines).ok());
        if let Some(lines) = lines {
            let start = tail_start(&mut file, lines).await?;
            file.seek(SeekFrom::Start(start)).await?;
        }
        let lines_left = lines.filter(|_| !follow);
        Ok(Self { path: path.to_owned(), file, changes, rest: Vec::new(), lines_left })
    }

    /// Sends what the filter shows; with `end`, until that is reached.
    pub(super) async fn send(
        mut self,
        mut filter: Filter,
        mut end: Option<End>,
        sender: mpsc::Sender<Bytes>,
    ) -> io::Result<()> {
        loop {
            // Looked at before reading: what was written before the end is still sent.
            let is_over = end.as_ref().is_none_or(|end| !end.is_running);
            if !self.send_present(&mut filter, &sender).await? {
                return Ok(());
            }
            if !is_over && self.is_rotated().await {
                // The runtime has let go of the old file: now its end is there, too.
                if !self.send_present(&mut filter, &sender).await? {
                    return Ok(());
                }
                self.file = File::open(&self.path).await?;
                continue;
            }
            let (Some(end), Some(changes), false) = (&mut end, &self.changes, is_over) else {
                return Ok(());
            };
            tokio::select! {
                changed = changes.next() => changed?,
                () = end.reached() => {}
                () = sender.closed() => return Ok(()),
            }
        }
    }

    /// Sends all that is there now. Returns whether more is wanted.
    async fn send_present(
        &mut self,
        filter: &mut Filter,
        sender: &mpsc::Sender<Bytes>,
    ) -> io::Result<bool> {
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            if self.lines_left == Some(0) {
                return Ok(false);
            }
            let read = self.file.read(&mut block).await?;
            if read == 0 {
                return Ok(true);
            }
            self.rest.extend_from_slice(&block[..read]);
            let Some(complete) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
                continue;
            };
            let lines: Vec<u8> = self.rest.drain(..=complete).collect();
            let mut out = Vec::with_capacity(lines.len());
            let wanted = self
                .lines_left
                .map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
            let mut shown = 0;
            for line in lines.split_inclusive(|byte| *byte == b'\n').take(wanted) {
                filter.show(&line[..line.len() - 1], &mut out);
                shown += 1;
            }
            self.lines_left = self.lines_left.map(|left| left - shown);
            if !out.is_empty() && sender.send(out.into()).await.is_err() {
                return Ok(false);
            }
            if filter.is_full() {
                return Ok(false);
            }
        }
    }

    /// Whether the path names another file by now.
    async fn is_rotated(&self) -> bool {
        let (Ok(open), Ok(named)) =
            (self.file.metadata().await, tokio::fs::metadata(&self.path).await)
        else {
            return false;
        };
        (open.dev(), open.ino()) != (named.dev(), named.ino())
    }
}

/// Where the last `lines` lines begin.
async fn tail_start(file: &mut File, lines: u64) -> io::Result<u64> {
    let length = file.metadata().await?.len();
    if lines == 0 {
        return Ok(length);
    }
    let mut block = vec![0; BLOCK_BYTES];
    let mut end = length;
    let mut found = 0;
    while end > 0 {
        let size = end.min(BLOCK_BYTES as u64);
        let start = end - size;
        let part = &mut block[..usize::try_from(size).unwrap_or(BLOCK_BYTES)];
        file.seek(SeekFrom::Start(start)).await?;
        file.read_exact(part).await?;
        for (index, byte) in part.iter().enumerate().rev() {
            let at = start + index as u64;
            // The newline at the very end closes the last line, it does not begin one.
            if *byte != b'\n' || at + 1 == length {
                continue;
            }
            found += 1;
            if found == lines {
                return Ok(at + 1);
            }
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("a\nb\nc\n", 1 => "c\n")]
    #[test_case("a\nb\nc\n", 2 => "b\nc\n")]
    #[test_case("a\nb\nc\n", 9 => "a\nb\nc\n")]
    #[test_case("a\nb\nc", 1 => "c"; "the last line is not complete")]
    #[test_case("a\nb\n", 0 => "")]
    #[test_case("", 3 => "")]
    fn tails(text: &str, lines: u64) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("0.log");
        std::fs::write(&path, text).expect("written");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let start = runtime.block_on(async {
            let mut file = File::open(&path).await.expect("a file");
            tail_start(&mut file, lines).await.expect("a place")
        });
        text[usize::try_from(start).expect("small")..].to_owned()
    }
    #[tokio::test]
    async fn a_log_that_grows_meanwhile_gives_no_more_lines_than_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("0.log");
        let line = |number: u32| format!("2026-01-01T00:00:00Z stdout F {number}\n");
        std::fs::write(&path, [line(1), line(2), line(3)].concat()).expect("written");
        let reader = Reader::open(&path, Some(2), false).await.expect("a log");
        std::fs::write(&path, [line(1), line(2), line(3), line(4)].concat()).expect("written");
        let (sender, mut receiver) = mpsc::channel(4);
        reader.send(Filter::new(None, false, None, None), None, sender).await.expect("read");
        assert_eq!(receiver.recv().await.expect("lines"), "2\n3\n");
        assert_eq!(receiver.recv().await, None);
    }
}
