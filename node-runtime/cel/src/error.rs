//! Why an evaluation has no result.

use crate::budget::Stop;

/// Why an evaluation has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EvalError {
    /// What kind of reason.
    pub kind: EvalErrorKind,
    /// The reason, in upstream's words.
    pub message: String,
}

/// Kinds of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvalErrorKind {
    /// The expression says something that cannot be: no such key, division by zero.
    Failed,
    /// A function was given arguments it does not take.
    NoSuchOverload,
    /// The expression went over the limit of one evaluation.
    CallLimit,
    /// The expressions together went over the budget.
    Budget,
}

impl EvalError {
    /// The expression cannot be evaluated with these values.
    pub fn failed(message: impl Into<String>) -> EvalError {
        EvalError { kind: EvalErrorKind::Failed, message: message.into() }
    }

    pub(crate) fn no_such_overload() -> EvalError {
        EvalError { kind: EvalErrorKind::NoSuchOverload, message: "no such overload".to_owned() }
    }

    pub(crate) fn out_of_budget() -> EvalError {
        EvalError {
            kind: EvalErrorKind::Budget,
            message: "validation failed due to running out of cost budget, no further validation \
                      rules will be run"
                .to_owned(),
        }
    }

    /// Whether nothing more may be evaluated.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self.kind, EvalErrorKind::CallLimit | EvalErrorKind::Budget)
    }
}

impl From<Stop> for EvalError {
    fn from(_: Stop) -> Self {
        EvalError {
            kind: EvalErrorKind::CallLimit,
            message: "operation cancelled: actual cost limit exceeded".to_owned(),
        }
    }
}
