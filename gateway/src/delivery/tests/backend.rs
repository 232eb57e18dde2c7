//! A backend that does what it is told: replies by command, a fault at a stage.
//!
//! Every connection is served by the same [`Script`]; what it heard is written down.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What the backend does instead of its ordinary reply.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// Says this (lines end in LF here) and goes on.
    Say(String),
    /// Says this and closes.
    SayAndClose(String),
    /// Closes without a word.
    Close,
    /// Says nothing more and keeps the connection open.
    Hang,
}

type Decide = dyn Fn(&Heard) -> Option<Act> + Send + Sync;

/// A line that was heard.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    /// The connection's number, from 0.
    pub(super) connection: usize,
    /// Messages that the connection has taken before.
    pub(super) messages: usize,
    /// `connect`, a command line, or `.` for the end of a message.
    pub(super) line: String,
}

/// How a backend behaves.
#[derive(Clone)]
pub(super) struct Script {
    pub(super) extensions: Vec<&'static str>,
    pub(super) lmtp: bool,
    /// Every octet is written alone.
    pub(super) byte_by_byte: bool,
    pub(super) starttls: Option<Arc<rustls::ServerConfig>>,
    pub(super) implicit: Option<Arc<rustls::ServerConfig>>,
    /// A PROXY header of version 1 is read first.
    pub(super) proxy: bool,
    pub(super) decide: Arc<Decide>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            extensions: vec![
                "PIPELINING",
                "8BITMIME",
                "SIZE 1000000",
                "ENHANCEDSTATUSCODES",
            ],
            lmtp: false,
            byte_by_byte: false,
            starttls: None,
            implicit: None,
            proxy: false,
            decide: Arc::new(|_| None),
        }
    }
}

impl Script {
    pub(super) fn lmtp() -> Self {
        Self {
            lmtp: true,
            ..Self::default()
        }
    }

    /// Acts when a line begins with `prefix`.
    pub(super) fn when(self, prefix: &'static str, act: Act) -> Self {
        self.deciding(move |heard| heard.line.starts_with(prefix).then(|| act.clone()))
    }

    /// Says `reply` when a line begins with `prefix`.
    pub(super) fn says(self, prefix: &'static str, reply: &str) -> Self {
        self.when(prefix, Act::Say(reply.to_owned()))
    }

    pub(super) fn deciding(
        self,
        decide: impl Fn(&Heard) -> Option<Act> + Send + Sync + 'static,
    ) -> Self {
        let before = self.decide;
        Self {
            decide: Arc::new(move |heard| before(heard).or_else(|| decide(heard))),
            ..self
        }
    }
}

/// What it heard.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<Heard>>,
    messages: Mutex<Vec<String>>,
    connections: AtomicUsize,
}

/// A backend that runs.
pub(super) struct Scripted {
    pub(super) address: SocketAddr,
    log: Arc<Log>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Scripted {
    pub(super) async fn start(script: Script) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), script).await
    }

    pub(super) async fn start_at(address: SocketAddr, script: Script) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Log::default());
        let serving = tokio::spawn(serve(listener, script, log.clone()));
        Self {
            address,
            log,
            serving,
        }
    }

    pub(super) fn connections(&self) -> usize {
        self.log.connections.load(Ordering::SeqCst)
    }

    /// The messages that were taken, after dot-stuffing was undone.
    pub(super) fn messages(&self) -> Vec<String> {
        self.log.messages.lock().unwrap().clone()
    }

    /// The lines of all connections that begin with `prefix`.
    pub(super) fn heard(&self, prefix: &str) -> Vec<String> {
        let lines = self.log.lines.lock().unwrap();
        let lines = lines.iter().filter(|heard| heard.line.starts_with(prefix));
        lines.map(|heard| heard.line.clone()).collect()
    }

    /// Waits until so many lines that begin with `prefix` were heard.
    pub(super) async fn hears(&self, prefix: &str, times: usize) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while self.heard(prefix).len() < times {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{prefix} was not heard {times} times"
            );
            tokio::task::yield_now().await;
        }
    }
}

async fn serve(listener: TcpListener, script: Script, log: Arc<Log>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let connection = log.connections.fetch_add(1, Ordering::SeqCst);
        let talk = Talk {
            script: script.clone(),
            log: log.clone(),
            connection,
            messages: 0,
        };
        connections.spawn(talk.run(socket));
    }
}

struct Talk {
    script: Script,
    log: Arc<Log>,
    connection: usize,
    messages: usize,
}

impl Talk {
    async fn run(mut self, mut socket: TcpStream) {
        socket.set_nodelay(true).unwrap();
        if self.script.proxy {
            let mut header = Vec::new();
            while !header.ends_with(b"\r\n") {
                header.push(socket.read_u8().await.unwrap());
            }
            self.hear(&String::from_utf8(header).unwrap());
        }
        let done = match self.script.implicit.clone() {
            None => self.talk(&mut BufStream::new(&mut socket), true).await,
            Some(config) => match TlsAcceptor::from(config).accept(&mut socket).await {
                Ok(stream) => self.talk(&mut BufStream::new(stream), true).await,
                Err(_) => return,
            },
        };
        // None: STARTTLS was said and answered.
        if done.is_none()
            && let Some(config) = self.script.starttls.take()
            && let Ok(stream) = TlsAcceptor::from(config).accept(&mut socket).await
        {
            self.script
                .extensions
                .retain(|extension| *extension != "STARTTLS");
            let _ = self.talk(&mut BufStream::new(stream), false).await;
        }
    }

    fn hear(&self, line: &str) -> Option<Act> {
        let heard = Heard {
            connection: self.connection,
            messages: self.messages,
            line: line.trim_end().to_owned(),
        };
        self.log.lines.lock().unwrap().push(heard.clone());
        (self.script.decide)(&heard)
    }

    /// None: TLS comes next. Some: it is over.
    async fn talk(
        &mut self,
        stream: &mut (impl AsyncRead + AsyncWrite + AsyncBufReadExt + Unpin + Send),
        greets: bool,
    ) -> Option<()> {
        if greets {
            let act = self.hear("connect");
            self.answer(stream, act, "220 scripted ESMTP")
                .await?
                .then_some(())?;
        }
        let mut recipients = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return Some(());
            }
            let act = self.hear(&line);
            let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            let ordinary = self.ordinary(&verb, recipients);
            let refused = matches!(&act, Some(Act::Say(said)) if !said.starts_with('2'));
            match verb.as_str() {
                "MAIL" | "RSET" => recipients = 0,
                "RCPT" if !refused => recipients += 1,
                _ => {}
            }
            let go_ahead = matches!(&act, Some(Act::Say(said)) if said.starts_with("354"));
            let data = verb == "DATA" && ((act.is_none() && recipients > 0) || go_ahead);
            let tls = verb == "STAR" && act.is_none();
            if !self.answer(stream, act, &ordinary).await? {
                return Some(());
            }
            if tls {
                return None;
            }
            if data && !self.message(stream, recipients).await? {
                return Some(());
            }
        }
    }

    fn ordinary(&self, verb: &str, recipients: usize) -> String {
        match verb {
            "EHLO" | "LHLO" => {
                let mut lines = vec!["scripted"];
                lines.extend(&self.script.extensions);
                let last = lines.pop().unwrap();
                let lines: String = lines.iter().map(|line| format!("250-{line}\n")).collect();
                format!("{lines}250 {last}")
            }
            "DATA" if recipients == 0 => "503 5.5.1 RCPT first".to_owned(),
            "DATA" => "354 go ahead".to_owned(),
            "STAR" => "220 2.0.0 go ahead".to_owned(),
            "AUTH" => "235 2.7.0 welcome".to_owned(),
            "QUIT" => "221 2.0.0 bye".to_owned(),
            _ => "250 2.0.0 ok".to_owned(),
        }
    }

    /// Reads a message and answers it; whether the talk goes on.
    async fn message(
        &mut self,
        stream: &mut (impl AsyncRead + AsyncWrite + AsyncBufReadExt + Unpin + Send),
        recipients: usize,
    ) -> Option<bool> {
        if let Some(act) = self.hear("message") {
            // A backend that does not wait for the message's end.
            return self.answer(stream, Some(act), "").await;
        }
        let mut message = Vec::new();
        loop {
            let mut line = Vec::new();
            if stream.read_until(b'\n', &mut line).await.ok()? == 0 {
                return Some(false);
            }
            if line == b".\r\n" {
                break;
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
        let act = self.hear(".");
        let taken = !matches!(&act, Some(Act::Say(said)) if !said.contains("250"));
        if taken {
            let message = String::from_utf8_lossy(&message).into_owned();
            self.log.messages.lock().unwrap().push(message);
        }
        self.messages += 1;
        let replies = if self.script.lmtp { recipients } else { 1 };
        let ordinary = vec!["250 2.0.0 queued"; replies].join("\n");
        self.answer(stream, act, &ordinary).await
    }

    /// Whether the talk goes on.
    async fn answer(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin + Send),
        act: Option<Act>,
        ordinary: &str,
    ) -> Option<bool> {
        let (said, goes_on) = match act {
            None => (ordinary.to_owned(), true),
            Some(Act::Say(said)) => (said, true),
            Some(Act::SayAndClose(said)) => (said, false),
            Some(Act::Close) => return Some(false),
            Some(Act::Hang) => {
                std::future::pending::<()>().await;
                return Some(false);
            }
        };
        let octets = said.replace('\n', "\r\n") + "\r\n";
        let piece = if self.script.byte_by_byte {
            1
        } else {
            octets.len()
        };
        for piece in octets.as_bytes().chunks(piece) {
            stream.write_all(piece).await.ok()?;
            stream.flush().await.ok()?;
        }
        Some(goes_on)
    }
}
