//! What a pod's worker still has to hear. Never full and never growing without bound: news of the
//! same thing replace each other, so that a slow pod holds nobody up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::Notify;

/// What happens to a pod.
#[derive(Clone, Debug)]
pub(crate) enum Signal {
    /// The object in the API changed.
    Changed(Arc<Pod>),
    /// The object in the API is gone.
    Removed,
    /// Something happened to a container or sandbox with this id.
    Runtime(String),
    /// Events may have been missed: everything has to be looked at.
    Resync,
}

#[derive(Default)]
struct Contents {
    changed: Option<Arc<Pod>>,
    is_removed: bool,
    ids: VecDeque<String>,
    is_resync: bool,
}

/// The mailbox of one pod. Clones are the same box.
#[derive(Clone, Default)]
pub(crate) struct Mailbox {
    contents: Arc<Mutex<Contents>>,
    news: Arc<Notify>,
}

impl Mailbox {
    /// Puts a signal in.
    pub(crate) fn put(&self, signal: Signal) {
        let mut contents = self.contents.lock().expect("nothing panics while it holds the box");
        match signal {
            Signal::Changed(pod) => contents.changed = Some(pod),
            Signal::Removed => contents.is_removed = true,
            Signal::Resync => contents.is_resync = true,
            Signal::Runtime(id) => {
                if !contents.ids.contains(&id) {
                    contents.ids.push_back(id);
                }
            }
        }
        self.news.notify_one();
    }

    /// Takes a signal out; waits for one.
    pub(crate) async fn take(&self) -> Signal {
        loop {
            if let Some(signal) = self.try_take() {
                return signal;
            }
            self.news.notified().await;
        }
    }

    fn try_take(&self) -> Option<Signal> {
        let mut contents = self.contents.lock().expect("nothing panics while it holds the box");
        if std::mem::take(&mut contents.is_resync) {
            return Some(Signal::Resync);
        }
        if let Some(id) = contents.ids.pop_front() {
            return Some(Signal::Runtime(id));
        }
        if let Some(pod) = contents.changed.take() {
            return Some(Signal::Changed(pod));
        }
        std::mem::take(&mut contents.is_removed).then_some(Signal::Removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn news_of_the_same_thing_replace_each_other() {
        let mailbox = Mailbox::default();
        for id in ["a", "b", "a"] {
            mailbox.put(Signal::Runtime(id.into()));
        }
        mailbox.put(Signal::Removed);
        mailbox.put(Signal::Changed(Arc::default()));
        mailbox.put(Signal::Changed(Arc::default()));
        let mut taken = Vec::new();
        while let Some(signal) = mailbox.try_take() {
            taken.push(match signal {
                Signal::Changed(_) => "changed".to_owned(),
                Signal::Removed => "removed".into(),
                Signal::Runtime(id) => id,
                Signal::Resync => "resync".into(),
            });
        }
        assert_eq!(taken, ["a", "b", "changed", "removed"]);
    }
}
