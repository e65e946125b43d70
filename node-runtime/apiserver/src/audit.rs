//! The audit log: who asked what and what came of it, as far as the user's policy wants it recorded.
//!
//! ```text
//! request ─ Trail (one record that grows) ─ at each stage: a line ─ bounded queue ─ one writer ─ file
//! ```
//!
//! Without a policy there is no [`Audit`], every [`Trail`] is empty and nothing is done. With one, a
//! request waits while the queue is full: as upstream's log, this one rather slows the server than
//! loses a line. What cannot be written is counted and does not fail the request.

mod event;
mod log;
mod policy;
mod record;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use minik_config::{AuditFormat, AuditLevel, AuditPolicy, AuditSettings};

use crate::config::BuildError;
use crate::metrics::{MetricKind, Text};
use log::Log;
pub(crate) use record::{Head, Trail};

/// The audit log of a server.
pub(crate) struct Audit {
    policy: AuditPolicy,
    format: AuditFormat,
    log: Log,
    counts: Arc<Counts>,
}

/// What the metrics tell.
#[derive(Debug, Default)]
struct Counts {
    events: AtomicU64,
    errors: AtomicU64,
    none: AtomicU64,
    metadata: AtomicU64,
    request: AtomicU64,
    response: AtomicU64,
}

impl Counts {
    fn of_level(&self, level: AuditLevel) -> &AtomicU64 {
        match level {
            AuditLevel::None => &self.none,
            AuditLevel::Metadata => &self.metadata,
            AuditLevel::Request => &self.request,
            AuditLevel::RequestResponse => &self.response,
        }
    }
}

impl Audit {
    /// Opens the log; none when nothing is to be recorded.
    pub(crate) fn open(settings: Option<&AuditSettings>) -> Result<Option<Arc<Audit>>, BuildError> {
        let Some(settings) = settings else { return Ok(None) };
        let counts = Arc::<Counts>::default();
        let log = Log::open(&settings.target, Arc::clone(&counts))?;
        let (policy, format) = (settings.policy.clone(), settings.format);
        Ok(Some(Arc::new(Audit { policy, format, log, counts })))
    }

    /// Waits until all that was recorded so far is written.
    pub(crate) async fn flush(&self) {
        self.log.flush().await;
    }

    /// The counters as text for Prometheus.
    pub(crate) fn render(&self, text: &mut Text) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (counts, kind) = (&self.counts, MetricKind::Counter);
        let help = "[ALPHA] Events that were recorded.";
        text.single("apiserver_audit_event_total", help, kind, get(&counts.events));
        const ERRORS: &str = "apiserver_audit_error_total";
        text.head(ERRORS, "[ALPHA] Events that could not be recorded.", kind);
        text.sample(ERRORS, &[("plugin", "log")], get(&counts.errors));
        const LEVELS: &str = "apiserver_audit_level_total";
        text.head(LEVELS, "[ALPHA] Requests by how much of them is recorded.", kind);
        for level in [
            AuditLevel::None,
            AuditLevel::Metadata,
            AuditLevel::Request,
            AuditLevel::RequestResponse,
        ] {
            let count = get(counts.of_level(level));
            text.sample(LEVELS, &[("level", level.as_str())], count);
        }
        // Requests are never turned away because of the log.
        let help = "[ALPHA] Requests that were turned away because they could not be recorded.";
        text.single("apiserver_audit_requests_rejected_total", help, kind, 0);
    }
}
