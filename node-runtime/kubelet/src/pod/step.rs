//! States and the edges between them: only those that are declared compile.

use super::finished::Finished;
use super::gone::Gone;
use super::preparing::Preparing;
use super::removing::Removing;
use super::running::Running;
use super::sandboxing::Sandboxing;
use super::terminating::Terminating;
use super::worker::Worker;

/// A state of a pod: works until it is time for another one.
pub(super) trait Step: Sized {
    /// For the log.
    const NAME: &'static str;

    /// Works in this state; returns the next one.
    async fn run(self, worker: &mut Worker) -> Next;

    /// The edge to another state.
    fn to<T: Into<Next>>(next: T) -> Next
    where
        Self: LeadsTo<T>,
    {
        next.into()
    }
}

/// The edge from a state to `T` exists.
pub(super) trait LeadsTo<T> {}

/// The state that comes next.
pub(super) enum Next {
    Preparing(Preparing),
    Sandboxing(Sandboxing),
    Running(Running),
    Terminating(Terminating),
    Finished(Finished),
    Removing(Removing),
    Gone(Gone),
    /// Nothing is left of the pod.
    End,
}

impl Next {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Preparing(_) => Preparing::NAME,
            Self::Sandboxing(_) => Sandboxing::NAME,
            Self::Running(_) => Running::NAME,
            Self::Terminating(_) => Terminating::NAME,
            Self::Finished(_) => Finished::NAME,
            Self::Removing(_) => Removing::NAME,
            Self::Gone(_) => Gone::NAME,
            Self::End => "End",
        }
    }

    /// Runs the state; none after the last.
    pub(super) async fn run(self, worker: &mut Worker) -> Option<Self> {
        match self {
            Self::Preparing(state) => Some(state.run(worker).await),
            Self::Sandboxing(state) => Some(state.run(worker).await),
            Self::Running(state) => Some(state.run(worker).await),
            Self::Terminating(state) => Some(state.run(worker).await),
            Self::Finished(state) => Some(state.run(worker).await),
            Self::Removing(state) => Some(state.run(worker).await),
            Self::Gone(state) => Some(state.run(worker).await),
            Self::End => None,
        }
    }
}

macro_rules! into_next {
    ($($state:ident),*) => {
        $(impl From<$state> for Next {
            fn from(state: $state) -> Self {
                Self::$state(state)
            }
        })*
    };
}

into_next!(Preparing, Sandboxing, Running, Terminating, Finished, Removing, Gone);
