//! The API server from outside: requests in process, over TLS, and with the real kubectl.

#[path = "api/access.rs"]
mod access;
#[path = "api/aggregation.rs"]
mod aggregation;
#[path = "api/apply.rs"]
mod apply;
#[path = "api/audit.rs"]
mod audit;
#[path = "api/certificates.rs"]
mod certificates;
#[path = "api/conversion.rs"]
mod conversion;
#[path = "api/custom.rs"]
mod custom;
#[path = "api/encryption.rs"]
mod encryption;
#[path = "api/fairness.rs"]
mod fairness;
#[path = "api/harness.rs"]
mod harness;
#[path = "api/hook.rs"]
mod hook;
#[path = "api/identity.rs"]
mod identity;
#[path = "api/issuers.rs"]
mod issuers;
#[path = "api/kubectl.rs"]
mod kubectl;
#[path = "api/kubelet.rs"]
mod kubelet;
#[path = "api/limits.rs"]
mod limits;
#[path = "api/lists.rs"]
mod lists;
#[path = "api/pages.rs"]
mod pages;
#[path = "api/pod_security.rs"]
mod pod_security;
#[path = "api/policies.rs"]
mod policies;
#[path = "api/protobuf.rs"]
mod protobuf;
#[path = "api/rules.rs"]
mod rules;
#[path = "api/services.rs"]
mod services;
#[path = "api/visitor.rs"]
mod visitor;
#[path = "api/watches.rs"]
mod watches;
#[path = "api/webhook_matching.rs"]
mod webhook_matching;
#[path = "api/webhooks.rs"]
mod webhooks;
#[path = "api/writes.rs"]
mod writes;
