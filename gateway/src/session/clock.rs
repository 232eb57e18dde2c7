//! A session's times: for a command, for the message, for the whole, and the least rate.
//!
//! The state of the protocol and what was received go in; when waiting has gone on for too long,
//! [`Expired`] comes out. Each session has one timer, which is only set when it must go off earlier
//! than it would.

use postern_config::policy::SessionTimeouts;
use postern_smtp::server::{DataState, State};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// Over this time the rate of a message is averaged (`limits.minDataRate`): a shorter stall is
/// the network's, not the client's.
const WINDOW: Duration = Duration::from_secs(30);
/// Silence after which untrusted data counts as ended (docs/flow.md, 5. data).
const UNTRUSTED: Duration = Duration::from_secs(30);

/// What is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    /// The client took too long.
    Slow,
    /// Data whose end cannot be trusted stopped coming.
    Untrusted,
}

/// The times of one session.
pub(super) struct Clock {
    timer: Pin<Box<Sleep>>,
    command: Duration,
    session: Instant,
    state: State,
    /// When waiting for this command began.
    since: Instant,
    last_octet: Instant,
    data: Option<Data>,
}

struct Data {
    deadline: Instant,
    /// Octets a window must bring.
    least: u64,
    window: Instant,
    octets: u64,
}

impl Clock {
    /// Begins with the connection.
    pub(super) fn new(timeouts: &SessionTimeouts) -> Self {
        let now = Instant::now();
        let command = Duration::from_millis(timeouts.command_ms);
        let session = now + Duration::from_millis(timeouts.session_ms);
        Self {
            timer: Box::pin(sleep_until((now + command).min(session))),
            command,
            session,
            state: State::Connection,
            since: now,
            last_octet: now,
            data: None,
        }
    }

    /// The time for one command, and for the client to read a reply.
    pub(super) fn command(&self) -> Duration {
        self.command
    }

    /// The session is over after `limit` at the latest.
    pub(super) fn ends_within(&mut self, limit: Duration) {
        self.session = self.session.min(Instant::now() + limit);
    }

    /// The message begins: all of it within `limit`, at least `rate` octets a second.
    pub(super) fn data(&mut self, limit: Duration, rate: u64) {
        let now = Instant::now();
        let least = rate.saturating_mul(WINDOW.as_secs());
        self.data = Some(Data {
            deadline: now + limit,
            least,
            window: now,
            octets: 0,
        });
    }

    /// All that could be done was done; waiting begins. `progress`: something was.
    pub(super) fn settle(&mut self, state: State, progress: bool) {
        if progress {
            self.since = Instant::now();
        }
        self.state = state;
        if !matches!(state, State::Data(_)) {
            self.data = None;
        }
    }

    /// Octets came.
    pub(super) fn received(&mut self, octets: usize) {
        if let Some(data) = &mut self.data {
            self.last_octet = Instant::now();
            // The pause before a chunk has the command's time; the rate is that of chunks alone.
            if self.state == State::Data(DataState::BetweenChunks) {
                (data.window, data.octets) = (self.last_octet, 0);
            }
            data.octets += octets as u64;
        }
    }

    /// Ready when a time is over.
    pub(super) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Expired> {
        loop {
            let (deadline, what) = self.next();
            if deadline < self.timer.deadline() {
                self.timer.as_mut().reset(deadline);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if deadline <= Instant::now() {
                match self.expired(what) {
                    Some(expired) => return Poll::Ready(expired),
                    None => continue,
                }
            }
            // It was set for something that has been over since.
            self.timer.as_mut().reset(deadline);
        }
    }

    /// A window of the rate may end well; all else that is over is over.
    fn expired(&mut self, what: What) -> Option<Expired> {
        match what {
            What::Session | What::Command | What::Data => Some(Expired::Slow),
            What::Untrusted => Some(Expired::Untrusted),
            What::Window => {
                let data = self.data.as_mut().filter(|data| data.octets >= data.least);
                let Some(data) = data else {
                    return Some(Expired::Slow);
                };
                (data.window, data.octets) = (Instant::now(), 0);
                None
            }
        }
    }

    /// What is over next, and when.
    fn next(&self) -> (Instant, What) {
        let own = match (self.state, &self.data) {
            (State::Data(DataState::Untrusted), _) => {
                (self.last_octet.max(self.since) + UNTRUSTED, What::Untrusted)
            }
            (State::Data(DataState::Receiving | DataState::Swallowing), Some(data)) => {
                let window = (data.window + WINDOW, What::Window);
                let whole = (data.deadline, What::Data);
                if window.0 < whole.0 { window } else { whole }
            }
            (State::Data(_), Some(data)) => {
                let command = (self.since + self.command, What::Command);
                let whole = (data.deadline, What::Data);
                if command.0 < whole.0 { command } else { whole }
            }
            _ => (self.since + self.command, What::Command),
        };
        if self.session < own.0 {
            (self.session, What::Session)
        } else {
            own
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum What {
    Session,
    Command,
    Data,
    Window,
    Untrusted,
}

#[cfg(test)]
mod tests;
