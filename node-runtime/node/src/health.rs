//! Who is ready: one board that parts report to, served on a socket and told to systemd.
//!
//! ```text
//! apiserver ─┐                       ┌─ systemd (READY=1, STATUS=…)
//! kubelet   ─┼─► Board (watch cell) ─┤
//! proxy …   ─┘                       └─ /run/minik/status.sock ◄─ minik-node status --wait
//! ```

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// At most so many askers are answered at once; more wait in the socket's backlog.
const ASKERS_MAX: usize = 32;

/// What `minik-node status` prints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// The API answers requests; true on a worker once its connection to the API stands.
    pub(crate) api: bool,
    /// The node object is Ready.
    pub(crate) node: bool,
    /// Why something is not ready, by part.
    pub(crate) reasons: BTreeMap<String, String>,
}

impl Status {
    pub(crate) fn ready(&self) -> bool {
        self.api && self.node
    }
}

/// Where the parts of the process report.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    cell: watch::Sender<Status>,
}

impl Board {
    pub(crate) fn new() -> Board {
        let mut status = Status::default();
        status.reasons.insert("api".to_owned(), "starting".to_owned());
        status.reasons.insert("node".to_owned(), "not registered yet".to_owned());
        Board { cell: watch::Sender::new(status) }
    }

    pub(crate) fn api_is(&self, ready: bool) {
        self.set("api", ready, "not answering");
    }

    pub(crate) fn node_is(&self, ready: bool, reason: &str) {
        self.set("node", ready, reason);
    }

    fn set(&self, part: &str, ready: bool, reason: &str) {
        self.cell.send_if_modified(|status| {
            let before = status.clone();
            match part {
                "api" => status.api = ready,
                _ => status.node = ready,
            }
            if ready {
                status.reasons.remove(part);
            } else {
                status.reasons.insert(part.to_owned(), reason.to_owned());
            }
            *status != before
        });
    }

    /// Tells systemd of each change: the unit is `Type=notify`, so its start ends with the first
    /// `READY=1`.
    pub(crate) async fn tell_systemd(self) {
        let mut changes = self.cell.subscribe();
        loop {
            let status = changes.borrow_and_update().clone();
            let words = if status.ready() {
                "READY=1\nSTATUS=ready".to_owned()
            } else {
                let reasons: Vec<String> =
                    status.reasons.iter().map(|(part, why)| format!("{part}: {why}")).collect();
                format!("STATUS={}", reasons.join(", "))
            };
            if let Err(err) = notify(&words) {
                tracing::warn!(%err, "systemd was not told");
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Answers `minik-node status` until the process ends.
    ///
    /// A question is one line with a number of milliseconds; the answer is one line of JSON, as soon
    /// as all is ready or the time is over.
    pub(crate) async fn serve(self, socket: PathBuf) {
        if let Err(err) = self.answer_all(&socket).await {
            tracing::error!(socket = %socket.display(), %err, "nobody can ask for the status");
        }
    }

    async fn answer_all(self, socket: &Path) -> io::Result<()> {
        match std::fs::remove_file(socket) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
        let listener = UnixListener::bind(socket)?;
        let places = std::sync::Arc::new(tokio::sync::Semaphore::new(ASKERS_MAX));
        loop {
            let Ok(place) = std::sync::Arc::clone(&places).acquire_owned().await else {
                return Ok(());
            };
            let (stream, _) = listener.accept().await?;
            let changes = self.cell.subscribe();
            tokio::spawn(async move {
                if let Err(err) = answer(stream, changes).await {
                    tracing::debug!(%err, "an asker went away");
                }
                drop(place);
            });
        }
    }
}

async fn answer(stream: UnixStream, mut changes: watch::Receiver<Status>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut question = String::new();
    stream.read_line(&mut question).await?;
    let patience = Duration::from_millis(question.trim().parse().unwrap_or(0));
    // Both ends of the wait give the same kind of answer: the state as it is then.
    drop(tokio::time::timeout(patience, changes.wait_for(Status::ready)).await);
    let status = changes.borrow().clone();
    let mut line = serde_json::to_string(&status)?;
    line.push('\n');
    stream.write_all(line.as_bytes()).await
}

/// Asks the running node process for its state, waiting up to `patience` until it is ready.
///
/// # Errors
///
/// The socket cannot be reached (the node process does not run) or answers nonsense.
pub(crate) async fn ask(socket: &Path, patience: Duration) -> io::Result<Status> {
    let mut stream = BufReader::new(UnixStream::connect(socket).await?);
    stream.write_all(format!("{}\n", patience.as_millis()).as_bytes()).await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    serde_json::from_str(&line).map_err(io::Error::from)
}

/// The protocol of `sd_notify(3)`: one datagram to the socket named in the environment.
fn notify(words: &str) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let socket = UnixDatagram::unbound()?;
    socket.send_to(words.as_bytes(), Path::new(&path)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_asker_waits_until_all_is_ready() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("status.sock");
        let board = Board::new();
        let serving = {
            let (board, socket) = (board.clone(), socket.clone());
            tokio::spawn(board.serve(socket))
        };
        while !socket.exists() {
            tokio::task::yield_now().await;
        }

        let now = ask(&socket, Duration::ZERO).await.unwrap();
        assert!(!now.ready() && now.reasons.contains_key("api"), "{now:?}");

        let later = tokio::spawn(async move { ask(&socket, Duration::from_secs(60)).await });
        board.api_is(true);
        board.node_is(true, "");
        assert!(later.await.unwrap().unwrap().ready());
        serving.abort();
    }

    #[test]
    fn a_part_that_fails_again_says_why() {
        let board = Board::new();
        board.node_is(true, "");
        board.node_is(false, "container runtime is down");
        assert_eq!(board.cell.borrow().reasons["node"], "container runtime is down");
        assert!(!board.cell.borrow().node);
    }
}
