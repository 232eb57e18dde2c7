//! A client that speaks in lines and expects lines, over TCP or TLS.

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Longer than anything that is expected to happen.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// One connection.
pub(crate) struct Client {
    wire: Box<dyn Wire>,
    unread: Vec<u8>,
    /// The leaf certificate that the server showed.
    pub(crate) shown: Option<CertificateDer<'static>>,
}

impl Client {
    /// Connects and says nothing.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self {
            wire: Box::new(stream),
            unread: Vec::new(),
            shown: None,
        }
    }

    /// Connects and takes the greeting.
    pub(crate) async fn greeted(address: SocketAddr) -> Self {
        let mut client = Self::open(address).await;
        client.expect("220 ").await;
        client
    }

    /// Connects and says EHLO.
    pub(crate) async fn hello(address: SocketAddr) -> Self {
        let mut client = Self::greeted(address).await;
        client.talk("EHLO client.test", "250 ").await;
        client
    }

    /// Sends octets.
    pub(crate) async fn send(&mut self, octets: impl AsRef<[u8]>) {
        timeout(DEADLINE, self.wire.write_all(octets.as_ref()))
            .await
            .unwrap()
            .unwrap();
        timeout(DEADLINE, self.wire.flush()).await.unwrap().unwrap();
    }

    /// Sends as much as the other side takes.
    pub(crate) async fn try_send(&mut self, octets: impl AsRef<[u8]>) {
        let _ = self.wire.write_all(octets.as_ref()).await;
    }

    /// Sends this again and again until the other side says something.
    pub(crate) async fn flood(&mut self, octets: &[u8]) {
        let (mut reading, mut writing) = tokio::io::split(&mut self.wire);
        let mut said = [0; 4096];
        tokio::select! {
            read = reading.read(&mut said) => self.unread.extend(&said[..read.unwrap()]),
            () = async { while writing.write_all(octets).await.is_ok() {} } => {}
        }
    }

    /// Reads something, text or not; false at the end of the connection.
    pub(crate) async fn line_lossy(&mut self) -> bool {
        let mut octets = [0; 4096];
        let read = timeout(DEADLINE, self.wire.read(&mut octets));
        !matches!(read.await.expect("the server says nothing"), Ok(0) | Err(_))
    }

    /// Everything up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> String {
        let mut text = String::new();
        timeout(DEADLINE, self.wire.read_to_string(&mut text))
            .await
            .unwrap()
            .unwrap();
        text
    }

    /// Closes its own side of the connection.
    pub(crate) async fn close_writing(&mut self) {
        timeout(DEADLINE, self.wire.shutdown())
            .await
            .unwrap()
            .unwrap();
    }

    /// The next reply, its lines joined by `\n`.
    pub(crate) async fn reply(&mut self) -> String {
        let mut lines = Vec::new();
        loop {
            let line = self
                .line()
                .await
                .expect("a reply, but the connection ended");
            let last = line.as_bytes().get(3) != Some(&b'-');
            lines.push(line);
            if last {
                return lines.join("\n");
            }
        }
    }

    /// The next line; none at the end of the connection.
    pub(crate) async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let line = self.unread.drain(..end + 2).collect::<Vec<_>>();
                return Some(String::from_utf8(line[..end].into()).unwrap());
            }
            let mut octets = [0; 4096];
            let read = timeout(DEADLINE, self.wire.read(&mut octets));
            match read.await.expect("the server says nothing") {
                Ok(0) | Err(_) => return None,
                Ok(length) => self.unread.extend_from_slice(&octets[..length]),
            }
        }
    }

    /// The next reply begins its last line like this.
    pub(crate) async fn expect(&mut self, start: &str) -> String {
        let reply = self.reply().await;
        let last = reply.lines().last().unwrap_or_default();
        assert!(last.starts_with(start), "expected {start:?}, got {reply:?}");
        reply
    }

    /// A command and its reply.
    pub(crate) async fn talk(&mut self, command: &str, start: &str) -> String {
        self.send(format!("{command}\r\n")).await;
        self.expect(start).await
    }

    /// The connection ends without another word.
    pub(crate) async fn expect_end(&mut self) {
        assert_eq!(self.line().await, None, "the connection should have ended");
    }

    /// MAIL, RCPT, DATA and the message (without the dot); the reply to it is returned.
    pub(crate) async fn mail(&mut self, from: &str, to: &str, message: &str) -> String {
        self.talk(&format!("MAIL FROM:<{from}>"), "250 ").await;
        self.talk(&format!("RCPT TO:<{to}>"), "250 ").await;
        self.talk("DATA", "354 ").await;
        self.send(message).await;
        self.send("\r\n.\r\n").await;
        self.reply().await
    }

    /// STARTTLS and the handshake with trust in `root`.
    pub(crate) async fn starttls(mut self, root: &CertificateDer<'static>, name: &str) -> Self {
        self.talk("STARTTLS", "220 ").await;
        self.handshake(root, name).await.unwrap()
    }

    /// The handshake; the error when it fails.
    pub(crate) async fn handshake(
        self,
        root: &CertificateDer<'static>,
        name: &str,
    ) -> std::io::Result<Self> {
        self.handshake_by(rustls::DEFAULT_VERSIONS, root, name)
            .await
    }

    /// The handshake with one of these versions; the error when it fails.
    pub(crate) async fn handshake_by(
        self,
        versions: &[&'static SupportedProtocolVersion],
        root: &CertificateDer<'static>,
        name: &str,
    ) -> std::io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let tls = TlsConnector::from(Arc::new(config))
            .connect(name, self.wire)
            .await?;
        let shown = tls
            .get_ref()
            .1
            .peer_certificates()
            .map(|chain| chain[0].clone());
        Ok(Self {
            wire: Box::new(tls),
            unread: Vec::new(),
            shown,
        })
    }
}
