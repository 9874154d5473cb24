//! A stream of the agent that keeps a source current.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::{Response, Status, Streaming};
use zt_core::spiffe::SpiffeId;
use zt_core::time::Timestamp;

use super::Settings;
use super::connect::{Client, connect};
use super::error::{NoRuntime, NotReady, WorkloadApiError};
use super::message::MessageError;
use super::retry::Retry;
use crate::source::Event;

/// How often it is looked whether an identity has expired.
const LOOK: Duration = Duration::from_secs(10);

/// What is fetched, and what becomes of it.
pub(super) trait Kind: Send + Sync + 'static {
    type Message: Send + 'static;
    type Source: Clone + Send + Sync + 'static;

    /// Asks for the stream.
    fn open(
        &self,
        client: &mut Client,
    ) -> impl Future<Output = Result<Response<Streaming<Self::Message>>, Status>> + Send;

    /// Checks a message and publishes what it says: in a new source if there is none yet.
    fn take(
        &self,
        message: Self::Message,
        source: Option<&Self::Source>,
        now: Timestamp,
    ) -> Result<Self::Source, MessageError>;

    /// The agent says that there is nothing for us any more.
    fn denied(&self, source: &Self::Source);

    /// The agent is not heard any more.
    fn missed(&self, source: &Self::Source, now: Timestamp);

    fn tell(&self, source: &Self::Source, event: &Event<'_>);

    /// The identity, if it has expired by now.
    fn expired(&self, source: &Self::Source, now: Timestamp) -> Option<SpiffeId>;
}

/// A source that is kept current by the agent, until this is dropped: then it stays as it is, and
/// ages.
#[must_use = "a source is kept current until its feed is dropped"]
pub struct Feed<S> {
    state: watch::Receiver<State<S>>,
    task: AbortHandle,
}

#[derive(Clone)]
struct State<S> {
    source: Option<S>,
    problem: Option<WorkloadApiError>,
}

impl<S: Clone> Feed<S> {
    /// The source, as soon as there is something in it.
    ///
    /// # Errors
    ///
    /// [`NotReady`] says what stands in the way, when that takes longer than `patience` or waiting is
    /// of no use. The feed goes on trying: one may wait again.
    pub async fn ready(&self, patience: Duration) -> Result<S, NotReady> {
        let mut state = self.state.clone();
        let there = state.wait_for(|state| state.source.is_some() || state.is_over());
        // Owned before anything else is awaited or returned: the guard holds a lock.
        let outcome = match timeout(patience, there).await {
            Ok(Ok(state)) => Ok((*state).clone()),
            Ok(Err(_)) | Err(_) => Err(()),
        };
        let state = outcome.unwrap_or_else(|()| self.state.borrow().clone());
        match (state.source, state.problem) {
            (Some(source), _) => Ok(source),
            (None, Some(problem)) if problem.is_final() => Err(NotReady::Over(problem)),
            (None, problem) => Err(NotReady::TimedOut {
                waited: patience,
                waiting_for: problem.unwrap_or(WorkloadApiError::Silent),
            }),
        }
    }

    /// The source, if there is something in it yet.
    #[must_use]
    pub fn source(&self) -> Option<S> {
        self.state.borrow().source.clone()
    }

    /// What stands in the way of updates now; nothing while the agent is there and what it said last
    /// was taken.
    #[must_use]
    pub fn problem(&self) -> Option<WorkloadApiError> {
        self.state.borrow().problem.clone()
    }
}

impl<S> State<S> {
    fn is_over(&self) -> bool {
        self.problem.as_ref().is_some_and(WorkloadApiError::is_final)
    }
}

impl<S> Drop for Feed<S> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<S> fmt::Debug for Feed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("problem", &self.state.borrow().problem)
            .finish_non_exhaustive()
    }
}

/// Begins to follow a stream.
pub(super) fn follow<K: Kind>(kind: K, settings: Settings) -> Result<Feed<K::Source>, NoRuntime> {
    let runtime = Handle::try_current().map_err(|_| NoRuntime)?;
    let state = State { source: None, problem: Some(WorkloadApiError::Silent) };
    let (publish, state) = watch::channel(state);
    let retry = Retry::new(Arc::clone(&settings.random));
    let follower = Follower { kind, settings, publish, retry, expired: None };
    Ok(Feed { state, task: runtime.spawn(follower.run()).abort_handle() })
}

struct Follower<K: Kind> {
    kind: K,
    settings: Settings,
    publish: watch::Sender<State<K::Source>>,
    retry: Retry,
    // The identity that was told to have expired.
    expired: Option<SpiffeId>,
}

impl<K: Kind> Follower<K> {
    async fn run(mut self) {
        loop {
            let error = self.converse().await;
            self.ended(&error);
            let (is_final, pause) = (error.is_final(), self.retry.after(&error));
            self.stands_in_the_way(Some(error));
            if is_final {
                return;
            }
            sleep(pause).await;
        }
    }

    /// Follows one stream, and says why it has ended.
    async fn converse(&mut self) -> WorkloadApiError {
        let mut client = match connect(&self.settings.address).await {
            Ok(client) => client,
            Err(error) => return error,
        };
        if self.source().is_none() {
            self.stands_in_the_way(Some(WorkloadApiError::Silent));
        }
        let mut stream = match self.kind.open(&mut client).await {
            Ok(response) => response.into_inner(),
            Err(status) => return status.into(),
        };
        // When to ask anew, after something that was not taken.
        let mut anew: Option<(Instant, WorkloadApiError)> = None;
        loop {
            let look = Instant::now().checked_add(LOOK);
            let wake = anew.as_ref().map(|(at, _)| *at).into_iter().chain(look).min();
            let message = match wake {
                Some(wake) => timeout_at(wake, stream.message()).await,
                None => Ok(stream.message().await),
            };
            match message {
                Ok(Ok(Some(message))) => match self.take(message) {
                    Ok(()) => anew = None,
                    Err(error) => {
                        let at = Instant::now().checked_add(self.retry.pause());
                        anew = at.map(|at| (at, error));
                    }
                },
                Ok(Ok(None)) => return WorkloadApiError::Ended,
                Ok(Err(status)) => return status.into(),
                Err(_elapsed) => {
                    if let Some((_, error)) = anew.take_if(|(at, _)| *at <= Instant::now()) {
                        return error;
                    }
                    if let Some(id) = self.newly_expired() {
                        return WorkloadApiError::Expired { id };
                    }
                }
            }
        }
    }

    fn take(&mut self, message: K::Message) -> Result<(), WorkloadApiError> {
        let source = self.source();
        match self.kind.take(message, source.as_ref(), self.settings.clock.now()) {
            Ok(taken) => {
                self.retry.heard();
                self.expired = None;
                self.publish.send_replace(State { source: Some(taken), problem: None });
                Ok(())
            }
            Err(error) => {
                self.tell(&Event::UpdateFailed { error: &error });
                let error = WorkloadApiError::from(error);
                self.stands_in_the_way(Some(error.clone()));
                Err(error)
            }
        }
    }

    fn ended(&mut self, error: &WorkloadApiError) {
        let source = self.source();
        match error {
            // Told when it was not taken.
            WorkloadApiError::Message(_) => return,
            WorkloadApiError::NotRegistered { .. } => {
                if let Some(source) = &source {
                    self.kind.denied(source);
                }
            }
            WorkloadApiError::Expired { id } => {
                self.tell(&Event::Expired { id });
                return;
            }
            WorkloadApiError::NoSocket { .. }
            | WorkloadApiError::NotAllowed { .. }
            | WorkloadApiError::Unreachable { .. }
            | WorkloadApiError::Refused { .. }
            | WorkloadApiError::Failed { .. }
            | WorkloadApiError::Silent
            | WorkloadApiError::Ended
            | WorkloadApiError::NoAudience
            | WorkloadApiError::AnotherSubject { .. }
            | WorkloadApiError::JwtSvid(_)
            | WorkloadApiError::StaleBundles(_) => {}
        }
        if let Some(source) = &source {
            self.kind.missed(source, self.settings.clock.now());
        }
        self.tell(&Event::Disconnected { error });
    }

    /// Once for each identity.
    fn newly_expired(&mut self) -> Option<SpiffeId> {
        let id = self.kind.expired(&self.source()?, self.settings.clock.now())?;
        if self.expired.as_ref() == Some(&id) {
            return None;
        }
        self.expired = Some(id.clone());
        Some(id)
    }

    fn source(&self) -> Option<K::Source> {
        self.publish.borrow().source.clone()
    }

    fn stands_in_the_way(&self, problem: Option<WorkloadApiError>) {
        self.publish.send_modify(|state| state.problem = problem);
    }

    fn tell(&self, event: &Event<'_>) {
        match (self.source(), &self.settings.observer) {
            (Some(source), _) => self.kind.tell(&source, event),
            (None, Some(observer)) => observer.observe(event),
            (None, None) => {}
        }
    }
}
