//! The load: N connections at a time, M mails on each, STARTTLS or clear, latency of every mail.

use super::corpus::{Corpus, DOMAIN};
use crate::tls::{self, Signatures};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What to send.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Connections at a time.
    pub connections: usize,
    /// Mails on each connection.
    pub mails_per_connection: usize,
    /// No connection begins after this.
    pub duration: Duration,
    /// STARTTLS, else clear.
    pub tls: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Time from MAIL to the reply of each accepted mail, sorted.
    pub latencies: Vec<Duration>,
    /// Mails that were not answered with 250.
    pub refused: usize,
    /// What the first refusal said.
    pub refusal: Option<String>,
    /// The whole run.
    pub elapsed: Duration,
}

impl Outcome {
    /// The latency below which this share of the mails lies.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index into a list that fits memory"
    )]
    pub fn quantile(&self, share: f64) -> Duration {
        let place = ((self.latencies.len() as f64 * share) as usize)
            .min(self.latencies.len().saturating_sub(1));
        self.latencies.get(place).copied().unwrap_or_default()
    }

    /// Accepted mails a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Sends until the time is over, then lets open connections finish.
///
/// # Panics
/// When a connection cannot be made or breaks.
pub async fn run(gateway: SocketAddr, corpus: &Arc<Corpus>, load: Load) -> Outcome {
    let started = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let tls = TlsConnector::from(Arc::new(client_config()));
    let workers: Vec<_> = (0..load.connections)
        .map(|_| {
            let (corpus, next, tls) = (Arc::clone(corpus), Arc::clone(&next), tls.clone());
            tokio::spawn(async move {
                let mut outcome = Outcome::default();
                while started.elapsed() < load.duration {
                    connection(gateway, &corpus, &next, &tls, load, &mut outcome)
                        .await
                        .expect("a connection to the gateway");
                }
                outcome
            })
        })
        .collect();
    let mut all = Outcome::default();
    for worker in workers {
        let one = worker.await.expect("the worker");
        all.latencies.extend(one.latencies);
        all.refused += one.refused;
        all.refusal = all.refusal.or(one.refusal);
    }
    all.elapsed = started.elapsed();
    all.latencies.sort_unstable();
    all
}

async fn connection(
    gateway: SocketAddr,
    corpus: &Corpus,
    next: &AtomicUsize,
    tls: &TlsConnector,
    load: Load,
    outcome: &mut Outcome,
) -> io::Result<()> {
    let mut stream = open(gateway, load.tls.then_some(tls)).await?;
    for _ in 0..load.mails_per_connection {
        let mail = &corpus.mails[next.fetch_add(1, Ordering::Relaxed) % corpus.mails.len()];
        let began = Instant::now();
        let reply = send(&mut stream, mail).await?;
        if reply.starts_with("250") {
            outcome.latencies.push(began.elapsed());
        } else {
            outcome.refused += 1;
            outcome.refusal.get_or_insert(reply);
        }
    }
    stream.write_all(b"QUIT\r\n").await?;
    read_replies(&mut stream, 1).await?;
    Ok(())
}

/// Opens `number` sessions under TLS and keeps them idle after EHLO.
///
/// # Errors
/// When a connection cannot be made.
pub async fn idle(gateway: SocketAddr, number: usize) -> io::Result<Vec<impl AsyncRead>> {
    let tls = TlsConnector::from(Arc::new(client_config()));
    let mut sessions = Vec::with_capacity(number);
    for _ in 0..number {
        sessions.push(open(gateway, Some(&tls)).await?);
    }
    Ok(sessions)
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn open(gateway: SocketAddr, tls: Option<&TlsConnector>) -> io::Result<Box<dyn Stream>> {
    let mut stream = TcpStream::connect(gateway).await?;
    stream.set_nodelay(true)?;
    read_replies(&mut stream, 1).await?;
    stream.write_all(b"EHLO mail.sender.test\r\n").await?;
    read_replies(&mut stream, 1).await?;
    let Some(tls) = tls else {
        return Ok(Box::new(stream));
    };
    stream.write_all(b"STARTTLS\r\n").await?;
    read_replies(&mut stream, 1).await?;
    let name = ServerName::try_from("mx1.acme.test").map_err(io::Error::other)?;
    let mut stream = tls.connect(name, stream).await?;
    stream.write_all(b"EHLO mail.sender.test\r\n").await?;
    stream.flush().await?;
    read_replies(&mut stream, 1).await?;
    Ok(Box::new(stream))
}

/// MAIL, RCPT and DATA in one write, as Postfix does where PIPELINING is offered (RFC 2920).
async fn send(stream: &mut Box<dyn Stream>, mail: &[u8]) -> io::Result<String> {
    let envelope = format!("MAIL FROM:<alice@{DOMAIN}>\r\nRCPT TO:<bob@acme.test>\r\nDATA\r\n");
    stream.write_all(envelope.as_bytes()).await?;
    stream.flush().await?;
    let reply = read_replies(stream, 3).await?;
    if !reply.starts_with("354") {
        return Ok(reply);
    }
    stream.write_all(mail).await?;
    stream.flush().await?;
    read_replies(stream, 1).await
}

/// Reads so many replies, all their lines; the last line of the last one comes back.
async fn read_replies(stream: &mut (impl AsyncRead + Unpin), number: usize) -> io::Result<String> {
    let mut text: Vec<u8> = Vec::new();
    let mut buffer = [0_u8; 2048];
    loop {
        let lines = text.split(|octet| *octet == b'\n');
        let ends: Vec<&[u8]> = lines
            .filter(|line| line.ends_with(b"\r") && line.get(3) == Some(&b' '))
            .collect();
        if let Some(last) = ends.get(number - 1) {
            return Ok(String::from_utf8_lossy(last).trim_end().to_owned());
        }
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        text.extend_from_slice(&buffer[..read]);
    }
}

/// Neither side's cost is a chain of certificates: the client takes any.
fn client_config() -> ClientConfig {
    let mut config = tls::client_config(Signatures::Believed);
    // Every connection is a new client: no resumption.
    config.resumption = rustls::client::Resumption::disabled();
    config
}
