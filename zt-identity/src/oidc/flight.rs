//! One question at a time about one thing, however many want the answer.
//!
//! Whoever asks first has it asked in a task of its own, which goes on when they hang up; whoever
//! asks meanwhile waits for the same answer. What comes of it is for the task to remember, which it
//! has done before anyone else may ask again.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::watch;

/// A digest, so that two things never share one.
type Name = [u8; 32];

/// The questions that are being asked. A clone shares them.
pub(crate) struct Flights<V> {
    flying: Arc<Mutex<HashMap<Name, watch::Receiver<Option<V>>>>>,
    max: usize,
}

impl<V> Clone for Flights<V> {
    fn clone(&self) -> Self {
        Self { flying: Arc::clone(&self.flying), max: self.max }
    }
}

impl<V: Clone + Send + Sync + 'static> Flights<V> {
    /// At most so many at a time.
    pub(crate) fn new(max: usize) -> Self {
        Self { flying: Arc::default(), max }
    }

    /// Joins the question of this name, or asks it.
    pub(crate) fn join<F>(
        &self,
        name: Name,
        ask: impl FnOnce() -> F,
    ) -> Result<Flight<V>, FlightError>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let runtime = Handle::try_current().map_err(|_| FlightError::NoRuntime)?;
        let mut flying = lock(&self.flying);
        if let Some(answer) = flying.get(&name) {
            return Ok(Flight(answer.clone()));
        }
        if flying.len() >= self.max {
            return Err(FlightError::TooMany);
        }
        let (tell, answer) = watch::channel(None);
        flying.insert(name, answer.clone());
        drop(flying);
        let landing = Landing { flights: self.clone(), name };
        let asked = ask();
        runtime.spawn(async move {
            let value = asked.await;
            drop(landing);
            tell.send_replace(Some(value));
        });
        Ok(Flight(answer))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.flying).len()
    }
}

/// Ends a flight, whether it came to an end or was given up.
struct Landing<V> {
    flights: Flights<V>,
    name: Name,
}

impl<V> Drop for Landing<V> {
    fn drop(&mut self) {
        lock(&self.flights.flying).remove(&self.name);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer to come.
pub(crate) struct Flight<V>(watch::Receiver<Option<V>>);

impl<V: Clone> Flight<V> {
    /// The answer; `None` when whoever asked is gone, and there will be none.
    pub(crate) async fn landed(mut self) -> Option<V> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}

/// Why something is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlightError {
    NoRuntime,
    TooMany,
}

impl<V> fmt::Debug for Flights<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").field("max", &self.max).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn what_is_asked_at_once_is_asked_once_and_each_gets_its_own_answer() {
        let flights = Flights::new(10);
        let (asked, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let ask = |number: u8| {
            let (asked, gate) = (Arc::clone(&asked), Arc::clone(&gate));
            flights.join([number; 32], || async move {
                asked.fetch_add(1, Ordering::SeqCst);
                let _open = gate.acquire().await.unwrap();
                number
            })
        };
        let waiting: Vec<_> = (0..60).map(|n| (n % 3, ask(n % 3).unwrap())).collect();
        assert_eq!(flights.len(), 3);
        gate.add_permits(3);
        for (number, flight) in waiting {
            assert_eq!(flight.landed().await, Some(number));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 3);
        assert_eq!(flights.len(), 0);
        assert_eq!(ask(1).unwrap().landed().await, Some(1));
        assert_eq!(asked.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn who_hangs_up_takes_no_answer_from_the_others() {
        let flights = Flights::new(10);
        let gate = Arc::new(Semaphore::new(0));
        let opened = Arc::clone(&gate);
        let first = flights.join([0; 32], || async move { opened.acquire().await.is_ok() });
        let second = flights.join([0; 32], || async { false });
        drop(first);
        gate.add_permits(1);
        assert_eq!(second.unwrap().landed().await, Some(true));
    }

    #[tokio::test]
    async fn a_question_that_panics_is_answered_for_nobody_and_may_be_asked_again() {
        let flights: Flights<u8> = Flights::new(1);
        let broken = flights.join([0; 32], || async { panic!("asked for") }).unwrap();
        assert_eq!(broken.landed().await, None);
        assert_eq!(flights.join([0; 32], || async { 1 }).unwrap().landed().await, Some(1));
    }

    #[tokio::test]
    async fn there_are_no_more_questions_at_a_time_than_there_is_room_for() {
        let flights: Flights<()> = Flights::new(1);
        let pending = std::future::pending;
        let _first = flights.join([0; 32], pending).unwrap();
        assert!(flights.join([0; 32], pending).is_ok());
        assert_eq!(flights.join([1; 32], pending).err(), Some(FlightError::TooMany));
    }

    #[test]
    fn nothing_is_asked_without_a_runtime() {
        let flights: Flights<()> = Flights::new(1);
        let refused = flights.join([0; 32], || async {}).err();
        assert_eq!((refused, flights.len()), (Some(FlightError::NoRuntime), 0));
    }
}
