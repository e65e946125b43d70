//! The API server: Kubernetes' API over HTTPS and in process, on one store.
//!
//! ```text
//! socket ── TLS ── HTTP ─┐
//!                        ├─> pipeline: authn > authz > route's Action > verb ─> store
//! in-process service ────┘
//! ```
//!
//! Read in this order: `route` (what can be asked), `pipeline` (the way of every request),
//! `verbs/write` (the road of every write), `verbs/watch`, `definitions` (custom resources), then
//! what interests you. [`Config`] says how to serve, [`Config::build`] checks and binds,
//! [`ApiServer::run`] serves until drained.

mod admission;
mod aggregation;
mod alloc;
mod audit;
mod authn;
mod authz;
mod body;
mod bootstrap;
mod call;
mod config;
mod convert;
mod core;
mod deadline;
mod definitions;
mod duration;
mod expiry;
mod fairness;
mod forward;
mod input;
mod kinds;
mod live;
mod metrics;
mod negotiate;
mod objects;
mod output;
mod owners;
mod pages;
mod pipeline;
mod respond;
mod route;
mod rules;
mod server;
mod service;
mod service_addresses;
mod subresource;
mod tls;
mod user;
mod vault;
mod verbs;
mod webhook;

pub use authn::jwt::AuthenticationError;
pub use authn::token::TokenError;
pub use body::{Body, BodyError};
pub use config::{BuildError, Cidr, CidrError, Config, Secrets};
pub use service::{ApiServer, InProcess};
pub use tls::TlsError;
pub use user::User;
