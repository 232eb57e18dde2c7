//! One SMTP connection: the driver of a [`postern_smtp::server::Session`].
//!
//! Octets from the socket go in, the stages decide in the order of the transaction
//! ([`connection`], [`helo`], [`mail`], [`rcpt`], [`data`]), and replies go out. The protocol's
//! rules stand in postern-smtp; here are sockets, clocks, limits, and the order in which checks,
//! routing and delivery are asked.

mod ahead;
mod ask;
mod clock;
mod connection;
mod data;
mod dns;
mod evidence;
mod header;
mod helo;
mod log;
mod mail;
mod monitor;
mod rcpt;
mod transaction;

pub(crate) use connection::{Accepted, run, turn_away};

use crate::delivery::Leg;
use crate::server::Shared;
use crate::server::limits::Open;
use crate::server::sessions::{Phase, Seat};
use crate::server::stream::Stream;
use crate::snapshot::{ListenerRuntime, Runtime};
use ahead::Ahead;
use clock::{Clock, Expired};
use log::SessionLog;
use postern_smtp::server::{self as smtp, CloseReason, Event, Rcpt};
use postern_verify::iprev;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::timeout;
use transaction::Transaction;

/// A handshake takes no longer, whatever the command timeout says.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// After [`CloseReason::Drain`] the connection is read for so long (docs/flow.md, 5. data).
const DRAIN: Duration = Duration::from_secs(5);
/// After a refusal the client gets so long to read it before the connection goes away.
const LINGER: Duration = Duration::from_secs(1);

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// QUIT.
    Quit,
    /// The client closed or reset the connection without QUIT.
    ClientGone,
    /// A policy, a limit or an error of the client's ended it.
    Refused,
    /// The client was silent, or did not read, for too long.
    Timeout,
    /// The TLS handshake failed.
    TlsFailed,
    /// The pod is going away.
    ShutDown,
}

impl End {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Quit => "quit",
            Self::ClientGone => "client_gone",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::TlsFailed => "tls_failed",
            Self::ShutDown => "shut_down",
        }
    }
}

/// One connection with all that belongs to it.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    /// TLS and limits of the session: as they were at connect.
    listener: Arc<ListenerRuntime>,
    /// The snapshot at connect; each transaction has its own.
    runtime: Arc<Runtime>,
    stream: Stream,
    smtp: smtp::Session,
    /// Octets that the session did not take yet.
    unread: Vec<u8>,
    client: SocketAddr,
    leg: Leg,
    seat: Seat,
    phase: Phase,
    clock: Clock,
    helo: Option<smtp::Helo>,
    iprev: Option<Ahead<dns::Looked<iprev::Outcome>>>,
    /// Recipients that are not asked about yet.
    group: Vec<Rcpt>,
    /// Events that came up while recipients were asked about.
    later: VecDeque<Event>,
    transaction: Option<Box<Transaction>>,
    log: SessionLog,
    open: Open,
}

/// What ended a wait.
enum Wake {
    /// Octets came.
    Input,
    /// The client closed its side.
    Eof,
    /// The connection broke.
    Broken,
    /// A time is over.
    Expired(Expired),
    /// The pod's end has moved on.
    Phase(Phase),
}

impl Connection {
    /// Serves the connection until it ends.
    async fn serve(&mut self) -> End {
        loop {
            let mut progress = false;
            while let Some(event) = self.next_event().await {
                progress = true;
                if let Err(end) = self.on_event(event).await {
                    return end;
                }
            }
            self.clock.settle(self.smtp.state(), progress);
            match self.wait().await {
                Wake::Input => {}
                Wake::Eof | Wake::Broken => return End::ClientGone,
                Wake::Phase(phase) => self.on_phase(phase),
                Wake::Expired(Expired::Untrusted) => self.smtp.abort_data(),
                Wake::Expired(Expired::Slow) => {
                    self.log.end(End::Timeout);
                    self.smtp.timed_out();
                }
            }
        }
    }

    /// The next event, none until there is more input. A group of RCPT has ended when all of it
    /// that has arrived was handed out: a pipelined one is mostly longer than the session's buffer.
    async fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.later.pop_front().or_else(|| self.smtp.poll()) {
                if event != Event::RcptGroup {
                    return Some(event);
                }
            } else if self.group.is_empty() {
                return None;
            } else if !self.take_arrived().await {
                return Some(Event::RcptGroup);
            }
        }
    }

    /// Gives the session what is there already, without waiting; false if there is nothing that it
    /// could take.
    async fn take_arrived(&mut self) -> bool {
        let Self {
            stream,
            smtp,
            unread,
            ..
        } = self;
        if !smtp.wants_input() {
            return false;
        }
        if unread.is_empty() {
            let read = poll_fn(|cx| {
                Poll::Ready(stream.poll_read(cx, |octets| {
                    unread.extend_from_slice(octets);
                    octets.len()
                }))
            });
            // An end or a fault of the connection is met again where it is waited for.
            let Poll::Ready(Ok(1..)) = read.await else {
                return false;
            };
        }
        let taken = smtp.receive(unread);
        unread.drain(..taken);
        taken > 0
    }

    /// One event of the protocol; an error ends the session.
    async fn on_event(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Send(octets) => self.send(&octets).await?,
            Event::Helo(command) => self.on_helo(command),
            // Boxed, so that the task of an idle session is small.
            Event::Mail(command) => Box::pin(self.on_mail(command)).await,
            Event::MailRefused(refused) => self.on_mail_refused(refused),
            Event::Rcpt(rcpt) => self.group.push(rcpt),
            Event::RcptGroup => Box::pin(self.on_group()).await?,
            Event::Data(_) => self.on_data(),
            Event::Body(octets) => self.on_body(&octets),
            Event::Message(framing) => Box::pin(self.on_message(framing)).await,
            Event::Reset(refusal) => self.on_reset(refusal),
            Event::StartTls => Box::pin(self.on_starttls()).await?,
            Event::Close(reason) => return Err(Box::pin(self.on_close(reason)).await),
        }
        Ok(())
    }

    /// Waits for input, a time to be over, or the pod's end to move on.
    async fn wait(&mut self) -> Wake {
        let Self {
            stream,
            smtp,
            unread,
            seat,
            phase,
            clock,
            ..
        } = self;
        poll_fn(|cx| {
            let now = seat.listen(cx.waker());
            if now > *phase {
                return Poll::Ready(Wake::Phase(now));
            }
            if !unread.is_empty() && smtp.wants_input() {
                let taken = smtp.receive(unread);
                unread.drain(..taken);
                return Poll::Ready(Wake::Input);
            }
            if smtp.wants_input() {
                let read = stream.poll_read(cx, |octets| {
                    let taken = smtp.receive(octets);
                    unread.extend_from_slice(octets.get(taken..).unwrap_or_default());
                    octets.len()
                });
                match read {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Wake::Eof),
                    Poll::Ready(Ok(octets)) => {
                        clock.received(octets);
                        return Poll::Ready(Wake::Input);
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Wake::Broken),
                    Poll::Pending => {}
                }
            }
            clock.poll_expired(cx).map(Wake::Expired)
        })
        .await
    }

    /// Sends replies; a client that does not read them in time ends the session.
    async fn send(&mut self, octets: &[u8]) -> Result<(), End> {
        match timeout(self.clock.command(), self.stream.send(octets)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::ClientGone),
            Err(_) => Err(End::Timeout),
        }
    }

    fn on_phase(&mut self, phase: Phase) {
        self.phase = phase;
        self.log.end(End::ShutDown);
        match phase {
            Phase::Serving => {}
            Phase::Closing => self.smtp.shutdown(),
            Phase::Deadline | Phase::Over => self.smtp.shutdown_now(),
        }
    }

    /// STARTTLS (RFC 3207): the handshake, and then the session begins anew.
    async fn on_starttls(&mut self) -> Result<(), End> {
        self.handshake().await?;
        self.helo = None;
        self.log.facts.helo = None;
        self.unread.clear();
        self.smtp.tls_established();
        Ok(())
    }

    async fn handshake(&mut self) -> Result<(), End> {
        let Some(config) = self.listener.tls.clone() else {
            return Err(End::TlsFailed);
        };
        let limit = self.clock.command().min(HANDSHAKE);
        let done = timeout(limit, self.stream.accept_tls(&config)).await;
        let done = done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        self.log
            .handshake(&self.shared.metrics, done.as_ref().err(), self.stream.tls());
        done.map_err(|error| {
            let (name, client) = (&self.listener.config.name, self.client.ip());
            let refusals = &self.shared.refusals;
            refusals.tell(name, "tls", client, || error.to_string());
            End::TlsFailed
        })
    }

    /// The last reply was sent.
    async fn on_close(&mut self, reason: CloseReason) -> End {
        let _ = timeout(LINGER, self.stream.shutdown()).await;
        match reason {
            CloseReason::Quit => End::Quit,
            CloseReason::Refused => {
                self.drain(LINGER).await;
                self.log.ended().unwrap_or(End::Refused)
            }
            CloseReason::Drain => {
                self.drain(DRAIN).await;
                self.log.ended().unwrap_or(End::Refused)
            }
        }
    }

    /// Reads and throws away, so that octets under way do not reset the connection before the
    /// client has read our last reply.
    async fn drain(&mut self, limit: Duration) {
        let stream = &mut self.stream;
        let gone = async {
            while poll_fn(|cx| stream.poll_read(cx, <[u8]>::len))
                .await
                .is_ok_and(|octets| octets > 0)
            {}
        };
        let _ = timeout(limit, gone).await;
    }

    /// The client's address as checks see it.
    fn client_ip(&self) -> IpAddr {
        self.client.ip().to_canonical()
    }
}

#[cfg(test)]
mod tests {
    use super::run;

    /// The size of the future that a function returns, without calling it.
    fn size<A, B, F>(_: fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_task_of_a_session_is_small() {
        // An idle TLS session has at most 20 KiB (ARCHITECTURE.md), most of it rustls's.
        let octets = size(run);
        assert!(octets <= 4096, "{octets} octets");
    }
}
