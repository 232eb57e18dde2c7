//! A fresh connection to a destination: its addresses in order until one is ready for MAIL.

use super::backend::Shared;
use super::choice::Destination;
use super::failure::Failure;
use super::link::{Link, Stream};
use super::locate::{Candidate, locate};
use super::outcome::Tls;
use super::tls::Security;
use postern_smtp::client::{Opening, Plan, Stage, StartTls, Step};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

/// Connects; `preamble` is the PROXY header or nothing.
pub(super) async fn connect(
    shared: &Shared,
    destination: &Destination,
    preamble: &[u8],
) -> Result<Link, (Failure, Option<Candidate>)> {
    let Destination {
        backend,
        domain,
        names,
    } = destination;
    let Some(security) = backend.security() else {
        return Err((Failure::TlsUnusable, None));
    };
    if backend.login().is_some() && !security.is_verified() {
        return Err((Failure::LoginUnverified, None));
    }
    let candidates = locate(backend, domain.as_ref(), names.as_ref(), &shared.limits)
        .await
        .map_err(|failure| (failure, None))?;
    let mut last = (Failure::NoAddress, None);
    for candidate in candidates {
        let attempt = Attempt {
            shared,
            destination,
            security,
            preamble,
            candidate: &candidate,
        };
        match attempt.run().await {
            Ok(link) => {
                shared.totals.connections_opened.one();
                return Ok(link);
            }
            Err(failure) => {
                shared.totals.connections_failed.one();
                tracing::debug!(backend = backend.display(), peer = %candidate.address,
                    ?failure, "no connection");
                last = (failure, Some(candidate));
            }
        }
    }
    Err(last)
}

/// One address.
struct Attempt<'a> {
    shared: &'a Shared,
    destination: &'a Destination,
    security: &'a Security,
    preamble: &'a [u8],
    candidate: &'a Candidate,
}

impl Attempt<'_> {
    async fn run(&self) -> Result<Link, Failure> {
        let security = self.security;
        match self.open(security).await {
            // RFC 7435 §3: a handshake that fails is no reason to withhold opportunistic mail.
            Err(Failure::Tls(reason)) if matches!(security, Security::Opportunistic(_)) => {
                tracing::debug!(peer = %self.candidate.address, reason, "going on in clear");
                self.open(&Security::Clear).await
            }
            done => done,
        }
    }

    async fn open(&self, security: &Security) -> Result<Link, Failure> {
        let limits = &self.shared.limits;
        let tcp = timeout(limits.connect, TcpStream::connect(self.candidate.address))
            .await
            .map_err(|_| Failure::ConnectTimeout)?
            .map_err(|error| Failure::Connect(error.kind()))?;
        // Without it replies and small messages wait for acknowledgements, 40 ms each.
        tcp.set_nodelay(true)
            .map_err(|error| Failure::Connect(error.kind()))?;
        timeout(limits.open, self.greet(tcp, security))
            .await
            .unwrap_or(Err(Failure::Timeout(Stage::Greeting)))
    }

    async fn greet(&self, mut tcp: TcpStream, security: &Security) -> Result<Link, Failure> {
        let lost = |_| Failure::Lost(Stage::Greeting);
        // The header precedes everything, TLS included.
        tcp.write_all(self.preamble).await.map_err(lost)?;
        let mut tls = None;
        let mut stream = Stream::Plain(tcp);
        if let Security::Implicit(config) = security {
            stream = self.handshake(stream, config, &mut tls, true).await?;
        }
        let backend = &self.destination.backend;
        let mut opening = Opening::new(backend.protocol(), self.plan(security));
        loop {
            match opening.step().map_err(Failure::Opening)? {
                Step::Ready => break,
                Step::Wait => {
                    stream.flush(opening.conversation()).await.map_err(lost)?;
                    stream
                        .read_into(opening.conversation())
                        .await
                        .map_err(lost)?;
                }
                Step::StartTls => {
                    let (config, verified) = match security {
                        Security::Required(config) => (config, true),
                        Security::Opportunistic(config) => (config, false),
                        // The plan has no STARTTLS then.
                        Security::Clear | Security::Implicit(_) => break,
                    };
                    stream = self.handshake(stream, config, &mut tls, verified).await?;
                    opening.tls_established();
                }
            }
        }
        Ok(Link {
            stream,
            conversation: opening.into_conversation(),
            peer: self.candidate.address,
            host: self.candidate.host.clone(),
            tls,
            opened: Instant::now(),
            uses: 0,
            refusals: 0,
        })
    }

    fn plan(&self, security: &Security) -> Plan {
        let backend = &self.destination.backend;
        Plan {
            hello: backend.hello().to_owned(),
            starttls: match security {
                Security::Clear => StartTls::Never,
                Security::Opportunistic(_) => StartTls::IfOffered,
                Security::Required(_) => StartTls::Required,
                Security::Implicit(_) => StartTls::Implicit,
            },
            login: backend.login(),
        }
    }

    async fn handshake(
        &self,
        stream: Stream,
        config: &Arc<ClientConfig>,
        tls: &mut Option<Tls>,
        verified: bool,
    ) -> Result<Stream, Failure> {
        let Stream::Plain(tcp) = stream else {
            return Err(Failure::Tls("TLS in TLS".to_owned()));
        };
        let name = self.server_name()?;
        let stream = TlsConnector::from(config.clone())
            .connect(name, tcp)
            .await
            .map_err(|error| Failure::Tls(error.to_string()))?;
        let (_, session) = stream.get_ref();
        *tls = Some(Tls {
            version: match session.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_2) => "1.2",
                _ => "1.3",
            },
            cipher: session
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or("unknown"),
            verified,
        });
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// What the certificate must be for: the configured name, the host's, or the address.
    fn server_name(&self) -> Result<ServerName<'static>, Failure> {
        let host = self.candidate.host.as_deref();
        match self.destination.backend.server_name().or(host) {
            Some(name) => ServerName::try_from(name.to_owned())
                .map_err(|_| Failure::Tls(format!("{name} is no name for a certificate"))),
            None => Ok(ServerName::IpAddress(self.candidate.address.ip().into())),
        }
    }
}
