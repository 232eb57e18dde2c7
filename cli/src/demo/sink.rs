//! A backend that takes mail for the users it knows and keeps it for inspection.
//!
//! It speaks SMTP over real sockets through the server side of postern-smtp.

use crate::Error;
use bytes::Bytes;
use postern_smtp::address::ForwardPath;
use postern_smtp::reply::{Enhanced, PermanentCode, Refusal};
use postern_smtp::server::{
    Accepted, BareNewlines, Event, Rcpt, Session, Settings, StartTls, Transaction,
};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The largest message that it takes, octets.
const SIZE: u64 = 64 << 20;
/// Mails that it keeps; later ones are counted only.
const KEPT: usize = 10_000;

/// A mail as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// The reverse-path, `<>` when null.
    pub reverse_path: String,
    /// The forward-paths.
    pub recipients: Vec<String>,
    /// Header and body.
    pub message: Vec<u8>,
}

/// Who is known, and what arrived.
#[derive(Debug)]
struct Store {
    unknown: Vec<String>,
    keep: bool,
    mails: Mutex<Vec<Received>>,
    count: AtomicU64,
}

/// Runs until it is dropped.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    store: Arc<Store>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Sink {
    /// Listens at a free port of 127.0.0.1. Local parts in `unknown` are refused with 550 5.1.1;
    /// with `keep`, mails are kept.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(unknown: &[&str], keep: bool) -> Result<Self, Error> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .map_err(|e| Error::failed("sink port", e))?;
        let address = listener
            .local_addr()
            .map_err(|e| Error::failed("sink port", e))?;
        let store = Arc::new(Store {
            unknown: unknown.iter().map(|name| (*name).to_owned()).collect(),
            keep,
            mails: Mutex::default(),
            count: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&store)));
        Ok(Self {
            address,
            store,
            accepting,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Mails that were taken.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.store.count.load(Ordering::Relaxed)
    }

    /// The mails that were kept, and forgets them.
    #[must_use]
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(
            &mut *self
                .store
                .mails
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

async fn accept(listener: TcpListener, store: Arc<Store>) {
    while let Ok((stream, _)) = listener.accept().await {
        let store = Arc::clone(&store);
        // A peer that breaks off ends its own task; there is nobody to tell.
        tokio::spawn(async move { serve(stream, &store).await });
    }
}

fn settings() -> Settings {
    Settings {
        hostname: "mailstore.acme.test".to_owned(),
        starttls: StartTls::Unavailable,
        size: SIZE,
        commands: u32::MAX,
        errors: u32::MAX,
        rcptmax: None,
    }
}

async fn serve(mut stream: TcpStream, store: &Store) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut session = Session::new(settings());
    session.greet();
    let mut connection = Connection {
        store,
        reverse_path: String::new(),
        recipients: vec![],
        body: vec![],
    };
    let mut buffer = vec![0_u8; 64 * 1024];
    loop {
        let mut out = Vec::new();
        let open = connection.drain(&mut session, &mut out);
        stream.write_all(&out).await?;
        if !open {
            return stream.shutdown().await;
        }
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let mut input = buffer.get(..read).unwrap_or_default();
        while !input.is_empty() {
            let taken = session.receive(input);
            input = input.get(taken..).unwrap_or_default();
            if !input.is_empty() {
                let mut out = Vec::new();
                let open = connection.drain(&mut session, &mut out);
                stream.write_all(&out).await?;
                if !open {
                    return stream.shutdown().await;
                }
            }
        }
    }
}

/// One connection's transaction.
struct Connection<'a> {
    store: &'a Store,
    reverse_path: String,
    recipients: Vec<(u64, String)>,
    body: Vec<Bytes>,
}

impl Connection<'_> {
    /// Answers all events; false when the connection is to be closed.
    fn drain(&mut self, session: &mut Session, out: &mut Vec<u8>) -> bool {
        while let Some(event) = session.poll() {
            match event {
                Event::Send(octets) => out.extend_from_slice(&octets),
                Event::Helo(_) => session.helo(Ok(())),
                Event::Mail(mail) => {
                    self.reverse_path = mail.reverse_path.to_string();
                    session.mail(Ok(transaction()));
                }
                Event::Rcpt(rcpt) => self.rcpt(session, rcpt),
                Event::RcptGroup | Event::MailRefused(_) => {}
                Event::Data(_) => session.data(Ok(())),
                Event::Body(octets) => {
                    if self.store.keep {
                        self.body.push(octets);
                    }
                }
                Event::Message(_) => {
                    let number = self.keep();
                    session.message(Ok(Accepted {
                        text: format!("kept as {number}"),
                    }));
                }
                Event::Reset(_) => self.forget(),
                // STARTTLS is not offered, so the session refuses it itself.
                Event::StartTls | Event::Close(_) => return false,
            }
        }
        true
    }

    fn rcpt(&mut self, session: &mut Session, rcpt: Rcpt) {
        let local_part = match &rcpt.forward_path {
            ForwardPath::Postmaster => "postmaster",
            ForwardPath::Mailbox(mailbox) => mailbox.local_part.as_str(),
        };
        if self
            .store
            .unknown
            .iter()
            .any(|name| name.eq_ignore_ascii_case(local_part))
        {
            let text = "no such user here";
            let code = PermanentCode::MailboxUnavailable;
            session.rcpt(rcpt.id, Err(Refusal::permanent(code, Enhanced(1, 1), text)));
        } else {
            self.recipients
                .push((rcpt.id, rcpt.forward_path.to_string()));
            session.rcpt(rcpt.id, Ok(()));
        }
    }

    fn keep(&mut self) -> u64 {
        let number = self.store.count.fetch_add(1, Ordering::Relaxed) + 1;
        if self.store.keep {
            let mut mails = self
                .store
                .mails
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if mails.len() < KEPT {
                mails.push(Received {
                    reverse_path: std::mem::take(&mut self.reverse_path),
                    recipients: self.recipients.drain(..).map(|(_, path)| path).collect(),
                    message: self.body.concat(),
                });
            }
        }
        self.forget();
        number
    }

    fn forget(&mut self) {
        self.recipients.clear();
        self.body.clear();
    }
}

fn transaction() -> Transaction {
    Transaction {
        size: SIZE,
        recipients: 1000,
        bare_newlines_data: BareNewlines::Reject,
        bare_newlines_bdat: BareNewlines::Reject,
    }
}
