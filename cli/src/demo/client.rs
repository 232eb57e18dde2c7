//! A sender of mail: says what a person would type, in clear or under TLS.

use crate::Error;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

/// Octets of one reply; more is not from our gateway.
const REPLY: usize = 8192;

/// A reply: its code and its text, lines joined by a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The basic code.
    pub code: u16,
    /// Everything behind it.
    pub text: String,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A session, greeted and after EHLO.
pub struct Client {
    stream: Box<dyn Stream>,
    buffered: Vec<u8>,
}

impl Client {
    /// Connects from `source` (any, when unspecified) and says EHLO, in clear.
    ///
    /// # Errors
    /// When the gateway does not answer as it should.
    pub async fn connect(gateway: SocketAddr, source: IpAddr, helo: &str) -> Result<Self, Error> {
        let connect = async {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(source, 0))?;
            socket.connect(gateway).await
        };
        let stream = connect
            .await
            .map_err(|e| Error::failed("connect to the gateway", e))?;
        let mut client = Self {
            stream: Box::new(stream),
            buffered: Vec::new(),
        };
        client.expect_reply(220).await?;
        client.command(&format!("EHLO {helo}"), 250).await?;
        Ok(client)
    }

    /// Starts TLS with `trusted` as the only trust anchors and says EHLO again.
    ///
    /// # Errors
    /// When the gateway does not answer as it should or its certificate is another.
    pub async fn secure(
        mut self,
        helo: &str,
        trusted: &[CertificateDer<'static>],
    ) -> Result<Self, Error> {
        self.command("STARTTLS", 220).await?;
        let mut client = self.start_tls(trusted).await?;
        client.command(&format!("EHLO {helo}"), 250).await?;
        Ok(client)
    }

    async fn start_tls(self, trusted: &[CertificateDer<'static>]) -> Result<Self, Error> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in trusted {
            roots
                .add(certificate.clone())
                .map_err(|e| Error::failed("the gateway's certificate", e))?;
        }
        let config = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("mx1.acme.test")
            .map_err(|e| Error::failed("the gateway's name", e))?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, self.stream)
            .await
            .map_err(|e| Error::failed("TLS handshake", e))?;
        Ok(Self {
            stream: Box::new(stream),
            buffered: Vec::new(),
        })
    }

    /// Sends a command and returns the reply.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn ask(&mut self, command: &str) -> Result<Reply, Error> {
        self.send(format!("{command}\r\n").as_bytes()).await?;
        self.reply().await
    }

    async fn command(&mut self, command: &str, code: u16) -> Result<(), Error> {
        self.send(format!("{command}\r\n").as_bytes()).await?;
        self.expect_reply(code).await
    }

    async fn expect_reply(&mut self, code: u16) -> Result<(), Error> {
        let reply = self.reply().await?;
        if reply.code == code {
            return Ok(());
        }
        Err(Error::Failed(format!(
            "the gateway said {} {}, not {code}",
            reply.code, reply.text
        )))
    }

    /// Sends octets as they are.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn send(&mut self, octets: &[u8]) -> Result<(), Error> {
        let send = async {
            self.stream.write_all(octets).await?;
            self.stream.flush().await
        };
        send.await
            .map_err(|e| Error::failed("send to the gateway", e))
    }

    /// The message with its final dot, lines that begin with a dot stuffed (RFC 5321 §4.5.2).
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn message(&mut self, message: &str) -> Result<Reply, Error> {
        let stuffed = message.replace("\r\n.", "\r\n..");
        self.send(format!("{stuffed}\r\n.\r\n").as_bytes()).await?;
        self.reply().await
    }

    /// Reads one reply, all its lines.
    ///
    /// # Errors
    /// When the connection ends or what comes is no reply.
    pub async fn reply(&mut self) -> Result<Reply, Error> {
        let mut text = Vec::new();
        loop {
            let line = self.line().await?;
            let code = line.get(..3).and_then(|digits| digits.parse::<u16>().ok());
            let Some(code) = code else {
                return Err(Error::Failed(format!("not a reply: {line:?}")));
            };
            text.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(Reply {
                    code,
                    text: text.join(" "),
                });
            }
        }
    }

    async fn line(&mut self) -> Result<String, Error> {
        loop {
            if let Some(end) = self.buffered.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.buffered.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            let mut buffer = [0_u8; 1024];
            let read = self
                .stream
                .read(&mut buffer)
                .await
                .map_err(|e| Error::failed("read from the gateway", e))?;
            if read == 0 || self.buffered.len() > REPLY {
                return Err(Error::Failed(
                    "the gateway closed the connection".to_owned(),
                ));
            }
            self.buffered
                .extend_from_slice(buffer.get(..read).unwrap_or_default());
        }
    }
}
