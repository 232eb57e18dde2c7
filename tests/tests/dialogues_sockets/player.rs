//! Plays one dialogue over one connection: the steps in order, each of which ends in time.

use crate::backend::Backend;
use crate::client::client_config;
use crate::{HOSTNAME, SOON};
use postern_tests::dialogue::{Action, Closing, Dialogue, Pattern, Said};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Plays one dialogue.
pub(crate) struct Player<'a> {
    dialogue: &'a Dialogue,
    backend: &'a Backend,
    /// The client's octets are written in pieces of so many.
    pieces: usize,
    /// None only while the handshake has it.
    stream: Option<Box<dyn Stream>>,
    /// What the server has sent and no step has expected yet.
    received: Vec<u8>,
    closed: Option<Closing>,
    line: usize,
}

impl<'a> Player<'a> {
    /// For a fresh connection.
    pub(crate) fn new(
        dialogue: &'a Dialogue,
        backend: &'a Backend,
        stream: TcpStream,
        pieces: usize,
    ) -> Self {
        Self {
            dialogue,
            backend,
            pieces,
            stream: Some(Box::new(stream)),
            received: Vec::new(),
            closed: None,
            line: 0,
        }
    }

    /// Plays all steps. The error names file and line.
    pub(crate) async fn play(mut self) -> Result<(), String> {
        for step in &self.dialogue.steps {
            self.line = step.line;
            self.act(&step.action).await.map_err(|what| {
                format!("{}:{}: {what}", self.dialogue.path.display(), self.line)
            })?;
        }
        let place = self.dialogue.path.display();
        // The end of the stream proves that the server said no more.
        if self.closed.is_none() {
            return Err(format!(
                "{place}: the dialogue does not end with the connection"
            ));
        }
        match self.backend.arrived.lock().unwrap().front() {
            Some(more) => Err(format!("{place}: a message was accepted as well: {more:?}")),
            None => Ok(()),
        }
    }

    async fn act(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Send(octets) => self.send(octets).await,
            Action::Expect(pattern) => {
                let line = self.next_line().await?;
                let said = || format!("the server said {line:?}");
                self.is_as_expected(pattern, &line)
                    .then_some(())
                    .ok_or_else(said)
            }
            Action::ExpectReply(code) => loop {
                let line = self.next_line().await?;
                let after = line.strip_prefix(code.as_str());
                match after.and_then(|rest| rest.chars().next()) {
                    Some('-') => {}
                    Some(' ') => return Ok(()),
                    _ => return Err(format!("the server said {line:?}")),
                }
            },
            Action::Tls => self.handshake().await,
            Action::Close(closing) => self.close(*closing).await,
            Action::Envelope(wanted) => match self.backend.arrived.lock().unwrap().front() {
                Some(arrived) if arrived.is_to(wanted) => Ok(()),
                other => Err(format!("the envelope is that of {other:?}")),
            },
            Action::Message(wanted) => match self.backend.arrived.lock().unwrap().pop_front() {
                Some(arrived) if is_below_our_fields(&arrived.message, wanted) => Ok(()),
                other => Err(format!("the message is that of {other:?}")),
            },
            Action::Driver(_) => Err("this needs the session itself".to_owned()),
        }
    }

    /// Policies refuse with a text of their own, which names them: there, and nowhere else, only the
    /// codes are compared. What a backend says is relayed as it stands.
    fn is_as_expected(&self, pattern: &Pattern, line: &str) -> bool {
        let answers = &self.dialogue.answers;
        let by_policy = answers.connect.iter();
        let by_policy = by_policy.chain(answers.helo.values().chain(answers.mail.values()));
        let Pattern::Exact(wanted) = pattern else {
            return pattern.matches(line);
        };
        let own = by_policy.into_iter().any(|said| spoken(said) == *wanted);
        // `550 5.7.1 `
        let codes = wanted.split_inclusive(' ').take(2).map(str::len).sum();
        if own {
            line.get(..codes) == wanted.get(..codes)
        } else {
            pattern.matches(line)
        }
    }

    async fn send(&mut self, octets: &[u8]) -> Result<(), String> {
        if matches!(self.closed, Some(Closing::Quit | Closing::Refused)) {
            return Err("the client sends on a closed connection".to_owned());
        }
        let stream = self.stream.as_mut().unwrap();
        let pieces = octets.chunks(self.pieces);
        let sent = timeout(SOON, async {
            for piece in pieces {
                stream.write_all(piece).await?;
                stream.flush().await?;
            }
            Ok::<_, std::io::Error>(())
        });
        match sent.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("the server takes no more: {error}")),
            Err(_) => Err("the server reads no more".to_owned()),
        }
    }

    async fn handshake(&mut self) -> Result<(), String> {
        if !self.received.is_empty() {
            return Err(format!(
                "the server also said {}",
                self.received.escape_ascii()
            ));
        }
        let name = ServerName::try_from(HOSTNAME).unwrap();
        let connector = TlsConnector::from(client_config());
        let stream = self.stream.take().unwrap();
        let secured = timeout(SOON, connector.connect(name, stream)).await;
        let secured = secured.map_err(|_| "no handshake in time".to_owned())?;
        self.stream = Some(Box::new(secured.map_err(|error| error.to_string())?));
        Ok(())
    }

    /// The server's end of the stream, with nothing before it. Why it closes shows in its replies.
    async fn close(&mut self, closing: Closing) -> Result<(), String> {
        while self.read().await? > 0 {}
        self.closed = Some(closing);
        match self.received.as_slice() {
            [] => Ok(()),
            more => Err(format!("the server also said {}", more.escape_ascii())),
        }
    }

    async fn next_line(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.received.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).map_err(|error| error.to_string());
            }
            if self.read().await? == 0 {
                return Err(format!(
                    "the server closed, after {}",
                    self.received.escape_ascii()
                ));
            }
        }
    }

    async fn read(&mut self) -> Result<usize, String> {
        let stream = self.stream.as_mut().unwrap();
        match timeout(SOON, stream.read_buf(&mut self.received)).await {
            Ok(Ok(octets)) => Ok(octets),
            Ok(Err(error)) => Err(format!("the connection broke: {error}")),
            Err(_) => Err(format!(
                "nothing came behind {}",
                self.received.escape_ascii()
            )),
        }
    }
}

/// The reply as one line.
pub(crate) fn spoken(said: &Said) -> String {
    let (class, (subject, detail)) = (said.code / 100, said.enhanced);
    format!("{} {class}.{subject}.{detail} {}", said.code, said.text)
}

/// Whether a message is the wanted one below fields that the gateway puts in front, all of them
/// whole. It is delivered by DATA, which ends every message with CRLF (RFC 5321 §4.1.1.4).
fn is_below_our_fields(arrived: &[u8], wanted: &[u8]) -> bool {
    let mut wanted = wanted.to_vec();
    if !wanted.is_empty() && !wanted.ends_with(b"\r\n") {
        wanted.extend(b"\r\n");
    }
    let Some(front) = arrived.strip_suffix(wanted.as_slice()) else {
        return false;
    };
    let ours: [&[u8]; 3] = [b"Authentication-Results: ", b"Received: ", b"Traceparent: "];
    let begins = |line: &[u8]| ours.iter().any(|name| line.starts_with(name));
    let continues = |line: &[u8]| matches!(line.first(), Some(b' ' | b'\t'));
    let mut lines = front.split_inclusive(|octet| *octet == b'\n');
    lines.next().is_some_and(begins)
        && lines.all(|line| begins(line) || continues(line))
        && front.ends_with(b"\r\n")
}
