//! One request to a resource, as verbs see it: who, what, with which options.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::Request;
use minik_api::protobuf;
use minik_meta::{GroupKind, GroupResource, Status};

use crate::audit::Trail;
use crate::body::Body;
use crate::core::Core;
use crate::deadline;
use crate::fairness::Seat;
use crate::kinds::Kind;
use crate::negotiate::{Answer, Output, negotiate};
use crate::owners;
use crate::route::{Query, Target, Verb};
use crate::user::User;

/// How long a request may stay, and what it takes up meanwhile.
#[derive(Default)]
pub(crate) struct Stay {
    /// `None` for watches and streams.
    pub(crate) deadline: Option<Instant>,
    /// `None` for streams.
    pub(crate) seat: Option<Seat>,
    pub(crate) warnings: Warnings,
}

/// A request that was authorized and whose resource exists.
pub(crate) struct Call {
    pub(crate) core: Arc<Core>,
    pub(crate) user: User,
    pub(crate) verb: Verb,
    pub(crate) kind: Kind,
    pub(crate) target: Target,
    pub(crate) query: Query,
    pub(crate) output: Output,
    pub(crate) dry_run: bool,
    /// Who becomes the owner of what is written.
    pub(crate) manager: String,
    /// When the client is told that it took too long; never for streams.
    deadline: Option<Instant>,
    /// Given back when the request is done.
    seat: Mutex<Option<Seat>>,
    /// What is recorded of the request.
    pub(crate) trail: Trail,
    warnings: Warnings,
}

/// What the client is told beside the answer, be it a failure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    fn add(&self, text: String) {
        let mut warnings = self.0.lock().expect("no holder panics");
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// What was noted so far.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no holder panics"))
    }
}

impl Call {
    /// Finds the resource and checks the options that all verbs share.
    pub(crate) fn new(
        core: Arc<Core>,
        user: User,
        verb: Verb,
        target: Target,
        query: Query,
        request: &Request<Body>,
        stay: Stay,
    ) -> Result<Call, Status> {
        let kind = core.kinds.of(&target)?;
        let list = matches!(verb, Verb::List | Verb::DeleteCollection);
        let output = match target.subresource.as_str() {
            // These answer with whatever the other side sends.
            subresource if deadline::is_stream(subresource) => Output::default(),
            _ => {
                let answer = Answer {
                    list,
                    protobuf: protobuf::has_form(&kind),
                    table: kind.verbs.iter().any(|verb| verb == "get"),
                };
                negotiate(request.headers(), &query, answer)?
            }
        };
        let dry_run = dry_run(query.all("dryRun"))?;
        let manager = match verb {
            Verb::Create | Verb::Update | Verb::Patch => {
                owners::manager(verb, &query, request.headers())?
            }
            _ => String::new(),
        };
        if let Some(deprecation) = kind.custom.as_ref().and_then(|one| one.deprecation.as_deref()) {
            stay.warnings.add(deprecation.to_owned());
        }
        Ok(Call {
            core,
            user,
            verb,
            kind,
            target,
            query,
            output,
            dry_run,
            manager,
            deadline: stay.deadline,
            seat: Mutex::new(stay.seat),
            trail: Trail::of(request),
            warnings: stay.warnings,
        })
    }

    /// How long it may still take, if there is a limit.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Group and plural, for failures.
    pub(crate) fn resource(&self) -> GroupResource {
        GroupResource::new(self.target.group.clone(), self.target.resource.clone())
    }

    /// Group and kind, for failures of validation.
    pub(crate) fn group_kind(&self) -> GroupKind {
        self.kind.group_kind()
    }

    /// Takes the request's seat, for what goes on after the call.
    pub(crate) fn take_seat(&self) -> Option<Seat> {
        self.seat.lock().expect("no holder panics").take()
    }

    /// Notes something the client should be told beside the answer.
    pub(crate) fn warn(&self, text: impl Into<String>) {
        self.warnings.add(text.into());
    }

    /// The same request, aimed at something else.
    pub(crate) fn to(&self, verb: Verb, target: Target) -> Result<Call, Status> {
        Ok(Call {
            core: Arc::clone(&self.core),
            user: self.user.clone(),
            verb,
            kind: self.core.kinds.of(&target)?,
            target,
            query: self.query.clone(),
            output: self.output,
            dry_run: self.dry_run,
            manager: self.manager.clone(),
            deadline: self.deadline,
            seat: Mutex::default(),
            trail: self.trail.clone(),
            warnings: self.warnings.clone(),
        })
    }
}

/// Whether nothing must be changed; any value but `All` is refused.
pub(crate) fn dry_run<'a>(values: impl Iterator<Item = &'a str>) -> Result<bool, Status> {
    let mut dry = false;
    for value in values.filter(|value| !value.is_empty()) {
        if value != "All" {
            return Err(Status::bad_request(format!(
                "Invalid value: [\"{value}\"]: dryRun: Unsupported value: \"{value}\": supported \
                 values: \"All\""
            )));
        }
        dry = true;
    }
    Ok(dry)
}
