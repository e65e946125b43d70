//! The families of figures that are counted as things happen, by subject.

use super::registry::{Family, Kind};

const DURATIONS_S: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];
const SLI_S: &[f64] = &[
    0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0,
    30.0, 45.0, 60.0,
];
const SIZES: &[f64] = &[1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
const EVENT_SIZES: &[f64] = &[1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0, 65536.0, 131_072.0];
const WEBHOOK_S: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];

macro_rules! labels {
    ($($more:literal),*) => {
        &["verb", "group", "version", "resource", "subresource", "scope", $($more),*]
    };
}
const GVR: &[&str] = &["group", "version", "resource"];

/// Answers to requests.
#[derive(Debug)]
pub(crate) struct Requests {
    pub(super) total: Family,
    pub(super) durations: Family,
    pub(super) sli: Family,
    pub(super) sizes: Family,
    pub(super) terminations: Family,
    pub(super) aborts: Family,
}

/// Watches and streams.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(super) long_running: Family,
    pub(super) watch_events: Family,
    pub(super) watch_sizes: Family,
}

/// Who comes in.
#[derive(Debug)]
pub(crate) struct Access {
    pub(super) tls_errors: Family,
    pub(super) authentications: Family,
    pub(super) users: Family,
    pub(super) authorizations: Family,
}

/// What admission webhooks answer.
#[derive(Debug)]
pub(crate) struct Webhooks {
    pub(super) durations: Family,
    pub(super) rejections: Family,
    pub(super) open: Family,
}

/// What validating admission policies say.
#[derive(Debug)]
pub(crate) struct Policies {
    pub(super) checks: Family,
    pub(super) durations: Family,
}

/// Health checks.
#[derive(Debug)]
pub(crate) struct Health {
    pub(super) healthy: Family,
    pub(super) checks: Family,
}

impl Default for Requests {
    fn default() -> Requests {
        Requests {
            total: Family::new(
                "apiserver_request_total",
                "[STABLE] Requests that were answered.",
                Kind::Counter,
                labels!("component", "dry_run", "code"),
            ),
            durations: Family::new(
                "apiserver_request_duration_seconds",
                "[STABLE] Seconds from a request to its answer.",
                Kind::Histogram(DURATIONS_S),
                labels!("component", "dry_run"),
            ),
            sli: Family::new(
                "apiserver_request_sli_duration_seconds",
                "[ALPHA] Seconds from a request to its answer, without waiting for a seat.",
                Kind::Histogram(SLI_S),
                labels!("component"),
            ),
            sizes: Family::new(
                "apiserver_response_sizes",
                "[STABLE] Bytes of the answers to gets and lists.",
                Kind::Histogram(SIZES),
                labels!("component"),
            ),
            terminations: Family::new(
                "apiserver_request_terminations_total",
                "[ALPHA] Requests the server ended to protect itself.",
                Kind::Counter,
                labels!("component", "code"),
            ),
            aborts: Family::new(
                "apiserver_request_aborts_total",
                "[ALPHA] Requests that ended without an answer.",
                Kind::Counter,
                labels!(),
            ),
        }
    }
}

impl Default for Streams {
    fn default() -> Streams {
        Streams {
            long_running: Family::new(
                "apiserver_longrunning_requests",
                "[STABLE] Watches and streams that are open.",
                Kind::Gauge,
                labels!("component"),
            ),
            watch_events: Family::new(
                "apiserver_watch_events_total",
                "[ALPHA] Events sent to watches.",
                Kind::Counter,
                GVR,
            ),
            watch_sizes: Family::new(
                "apiserver_watch_events_sizes",
                "[ALPHA] Bytes of events sent to watches.",
                Kind::Histogram(EVENT_SIZES),
                GVR,
            ),
        }
    }
}

impl Default for Access {
    fn default() -> Access {
        Access {
            tls_errors: Family::new(
                "apiserver_tls_handshake_errors_total",
                "[ALPHA] Connections that ended in the TLS handshake.",
                Kind::Counter,
                &[],
            ),
            authentications: Family::new(
                "authentication_attempts",
                "[ALPHA] Attempts to find out who makes a request.",
                Kind::Counter,
                &["result"],
            ),
            users: Family::new(
                "authenticated_user_requests",
                "[ALPHA] Requests by who made them; all but the system's own users are one.",
                Kind::Counter,
                &["username"],
            ),
            authorizations: Family::new(
                "authorization_attempts_total",
                "[ALPHA] Decisions whether a request is allowed.",
                Kind::Counter,
                &["result"],
            ),
        }
    }
}

impl Default for Webhooks {
    fn default() -> Webhooks {
        Webhooks {
            durations: Family::new(
                "apiserver_admission_webhook_admission_duration_seconds",
                "[STABLE] Seconds an admission webhook took.",
                Kind::Histogram(WEBHOOK_S),
                &["name", "type", "operation", "rejected"],
            ),
            rejections: Family::new(
                "apiserver_admission_webhook_rejection_count",
                "[ALPHA] Requests that were refused because of an admission webhook.",
                Kind::Counter,
                &["name", "type", "operation", "error_type", "rejection_code"],
            ),
            open: Family::new(
                "apiserver_admission_webhook_fail_open_count",
                "[ALPHA] Failures of admission webhooks that were passed over.",
                Kind::Counter,
                &["name", "type"],
            ),
        }
    }
}

impl Default for Policies {
    fn default() -> Policies {
        const LABELS: &[&str] = &["policy", "policy_binding", "error_type", "enforcement_action"];
        Policies {
            checks: Family::new(
                "apiserver_validating_admission_policy_check_total",
                "[BETA] Validations of admission policies, and what came of them.",
                Kind::Counter,
                LABELS,
            ),
            durations: Family::new(
                "apiserver_validating_admission_policy_check_duration_seconds",
                "[BETA] Seconds for a validation, on average over those of its policy.",
                Kind::Histogram(&[0.000_000_5, 0.001, 0.01, 0.1, 1.0]),
                LABELS,
            ),
        }
    }
}

impl Default for Health {
    fn default() -> Health {
        Health {
            healthy: Family::new(
                "kubernetes_healthcheck",
                "[STABLE] Whether a health check held when it was last made.",
                Kind::Gauge,
                &["name", "type"],
            ),
            checks: Family::new(
                "kubernetes_healthchecks_total",
                "[STABLE] Health checks that were made.",
                Kind::Counter,
                &["name", "type", "status"],
            ),
        }
    }
}
