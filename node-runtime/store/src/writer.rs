//! The writer: one thread that decides every write, makes it durable, and publishes it.
//!
//! Requests that wait while a batch is being written to disk form the next batch, so the number
//! of fsyncs follows the disk and not the number of clients. Within a batch a request sees what
//! the ones before it did. Nobody else sees anything before it is on disk.
//!
//! ```text
//! request ─ stage (pure: conditions, revisions) ─ backend.commit ─ publish ─ answer
//!                                                      └ failed: answer, settle before the next
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::backend::{Backend, Batch, Change, Loaded, Marks};
use crate::error::{BackendError, StoreError};
use crate::index::{Head, Index, Shared, Staged};
use crate::types::{Durability, Event, EventKind, Expect, Op, Previous, Revision, Write};

/// Requests that may wait for the writer; further callers wait for a place.
pub(crate) const REQUESTS_MAX: usize = 1024;
/// Requests of one batch, so that the first of them does not wait for too many others.
const BATCH_REQUESTS_MAX: usize = 512;
/// Bytes of one batch.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// Revisions reserved on disk at a time.
const RESERVE: u64 = 10_000;

/// What the writer is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// Do this.
    Write(Request),
    /// Do what is in the queue, then stop.
    Close,
}

/// A transaction and whom to tell.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) writes: Vec<Write>,
    pub(crate) answer: oneshot::Sender<Result<Vec<Revision>, StoreError>>,
}

/// What the writer thread owns.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) requests: mpsc::Receiver<Message>,
    pub(crate) value_bytes_max: usize,
    pub(crate) reserved: Revision,
    /// A batch whose commit failed, until the backend can tell whether it is on disk.
    pub(crate) unsettled: Option<Vec<Staged>>,
}

impl Writer {
    /// Works until nobody can send requests any more.
    pub(crate) fn run(mut self) {
        while let Some(message) = self.requests.blocking_recv() {
            match message {
                Message::Write(first) => {
                    let batch = self.gather(first);
                    self.process(batch);
                }
                Message::Close => self.requests.close(),
            }
        }
        self.give_back_reserve();
        self.shared.index_mut().close();
    }

    /// The first request and those that wait behind it.
    fn gather(&mut self, first: Request) -> Vec<Request> {
        let mut bytes = size(&first.writes);
        let mut batch = vec![first];
        while batch.len() < BATCH_REQUESTS_MAX && bytes < BATCH_BYTES_MAX {
            match self.requests.try_recv() {
                Ok(Message::Write(request)) => {
                    bytes += size(&request.writes);
                    batch.push(request);
                }
                Ok(Message::Close) => self.requests.close(),
                Err(_) => break,
            }
        }
        batch
    }

    fn process(&mut self, requests: Vec<Request>) {
        if let Err(error) = self.settle() {
            let error = StoreError::from(error);
            return requests.into_iter().for_each(|request| answer(request, Err(error.clone())));
        }
        let mut stage = Stage::new(self.value_bytes_max);
        let mut accepted = Vec::with_capacity(requests.len());
        {
            let index = self.shared.index();
            for request in requests {
                match stage.request(&index, &request.writes) {
                    Ok(revisions) => accepted.push((request, revisions)),
                    Err(error) => answer(request, Err(error)),
                }
            }
        }
        let staged = stage.staged;
        if let Err(error) = self.make_durable(&staged) {
            tracing::error!(%error, "a batch could not be written");
            self.unsettled = Some(staged);
            let error = StoreError::from(error);
            return accepted
                .into_iter()
                .for_each(|(request, _)| answer(request, Err(error.clone())));
        }
        self.shared.publish(staged);
        accepted.into_iter().for_each(|(request, revisions)| answer(request, Ok(revisions)));
    }

    /// Writes what must be on disk before the batch may be seen; for volatile writes nothing,
    /// except a new block of revisions now and then.
    fn make_durable(&mut self, staged: &[Staged]) -> Result<(), BackendError> {
        let Some(last) = staged.last().map(|staged| staged.event.revision) else { return Ok(()) };
        let durable: Vec<_> = staged.iter().filter(|staged| staged.durable).collect();
        if durable.is_empty() && last <= self.reserved {
            return Ok(());
        }
        let reserved = Revision(last.0 + RESERVE);
        let changes = durable.iter().map(|staged| change(&staged.event)).collect();
        self.backend.commit(&Batch { changes, marks: Marks { committed: last, reserved } })?;
        self.reserved = reserved;
        Ok(())
    }

    /// Finds out what became of a batch whose commit failed. If it reached the disk it becomes
    /// visible now; if not, it never happened.
    fn settle(&mut self) -> Result<(), BackendError> {
        let Some(last) = self.unsettled.as_ref().and_then(|batch| batch.last()) else {
            return Ok(());
        };
        let last = last.event.revision;
        let marks = self.backend.reopen()?;
        let batch = self.unsettled.take().unwrap_or_default();
        if marks.committed == last {
            self.shared.publish(batch);
        }
        self.reserved = marks.reserved;
        tracing::info!(committed = %marks.committed, "the store writes again");
        Ok(())
    }

    /// A clean stop leaves no gap in the revisions.
    fn give_back_reserve(&mut self) {
        let revision = self.shared.index().revision();
        let marks = Marks { committed: revision, reserved: revision };
        if self.unsettled.is_none() && self.reserved > revision {
            // Losing this costs a gap, nothing else.
            if let Err(error) = self.backend.commit(&Batch { changes: Vec::new(), marks }) {
                tracing::warn!(%error, "could not record the last revision");
            }
        }
    }
}

fn answer(request: Request, result: Result<Vec<Revision>, StoreError>) {
    // A caller that has gone away does not want to know.
    let _ = request.answer.send(result);
}

fn size(writes: &[Write]) -> usize {
    let value = |write: &Write| match &write.op {
        Op::Put(value) => value.len(),
        Op::Delete => 0,
    };
    writes.iter().map(|write| write.key.len() + value(write)).sum()
}

fn change(event: &Event) -> Change<'_> {
    match event.kind {
        EventKind::Put => Change::Put(Loaded {
            key: &event.key,
            created: event.created,
            modified: event.revision,
            value: &event.value,
        }),
        EventKind::Delete => Change::Delete { key: &event.key },
    }
}

/// A batch while it is being decided: what the index will look like after it.
struct Stage {
    staged: Vec<Staged>,
    /// Keys this batch changed; `None`: deleted.
    heads: HashMap<Arc<str>, Option<Head>>,
    value_bytes_max: usize,
}

impl Stage {
    fn new(value_bytes_max: usize) -> Self {
        Self { staged: Vec::new(), heads: HashMap::new(), value_bytes_max }
    }

    /// Decides a transaction: the revision of each write, or why none of them happens.
    fn request(&mut self, index: &Index, writes: &[Write]) -> Result<Vec<Revision>, StoreError> {
        let mark = self.staged.len();
        let mut revisions = Vec::with_capacity(writes.len());
        for write in writes {
            match self.write(index, write) {
                Ok(revision) => revisions.push(revision),
                Err(error) => {
                    self.roll_back(mark);
                    return Err(error);
                }
            }
        }
        Ok(revisions)
    }

    fn write(&mut self, index: &Index, write: &Write) -> Result<Revision, StoreError> {
        let head = match self.heads.get(&write.key) {
            Some(head) => head.as_ref(),
            None => index.head(&write.key),
        };
        check(write, head, self.value_bytes_max)?;
        let newest = self.staged.last().map_or(index.revision(), |last| last.event.revision);
        if head.is_none() && write.op == Op::Delete {
            return Ok(newest);
        }
        let durable =
            write.durability == Durability::Durable || head.is_some_and(|head| head.durable);
        let event = Arc::new(event(write, head, newest.next()));
        self.remember(&event, durable);
        self.staged.push(Staged { event: Arc::clone(&event), durable });
        Ok(event.revision)
    }

    fn remember(&mut self, event: &Event, durable: bool) {
        let head = (event.kind == EventKind::Put).then(|| Head {
            value: event.value.clone(),
            created: event.created,
            modified: event.revision,
            durable,
        });
        self.heads.insert(Arc::clone(&event.key), head);
    }

    /// Takes back the writes of a transaction that failed half way.
    fn roll_back(&mut self, mark: usize) {
        if self.staged.len() == mark {
            return;
        }
        for undone in self.staged.drain(mark..) {
            self.heads.remove(&undone.event.key);
        }
        let kept: Vec<_> =
            self.staged.iter().map(|kept| (Arc::clone(&kept.event), kept.durable)).collect();
        // Rare, and the batch is short: simply play what is left again.
        kept.iter().for_each(|(event, durable)| self.remember(event, *durable));
    }
}

/// Whether the write may happen to a key that is as `head` says.
fn check(write: &Write, head: Option<&Head>, value_bytes_max: usize) -> Result<(), StoreError> {
    let found = head.map(|head| head.modified);
    let holds = match write.expect {
        Expect::Any => true,
        Expect::Absent => found.is_none(),
        Expect::Present => found.is_some(),
        Expect::At(revision) => found == Some(revision),
    };
    if !holds {
        let key = Arc::clone(&write.key);
        return Err(StoreError::Conflict { key, expected: write.expect, found });
    }
    match &write.op {
        Op::Put(value) if value.len() > value_bytes_max => Err(StoreError::TooLarge {
            key: Arc::clone(&write.key),
            size: value.len(),
            max: value_bytes_max,
        }),
        Op::Put(_) | Op::Delete => Ok(()),
    }
}

fn event(write: &Write, head: Option<&Head>, revision: Revision) -> Event {
    let (kind, value) = match &write.op {
        // Copied, so that a small object does not keep the buffer of its whole request alive.
        Op::Put(value) => (EventKind::Put, Bytes::copy_from_slice(value)),
        Op::Delete => (EventKind::Delete, Bytes::new()),
    };
    Event {
        revision,
        key: Arc::clone(&write.key),
        kind,
        created: head.map_or(revision, |head| head.created),
        value,
        previous: head.map(|head| Previous { value: head.value.clone(), modified: head.modified }),
    }
}
