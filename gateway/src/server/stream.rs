//! A client's connection, in clear or under TLS, without a buffer of its own while it is idle.
//!
//! Octets are read into one buffer per worker thread and handed on at once, so an idle session
//! holds none. TLS keeps what it must inside rustls.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Octets that one read takes at most.
const READ: usize = 64 << 10;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// The connection.
pub enum Stream {
    /// In clear.
    Plain(TcpStream),
    /// Under TLS.
    Tls(Box<TlsStream<TcpStream>>),
    /// Lost in a handshake that failed or was cut.
    Gone,
}

impl Stream {
    /// Reads once; `take` is given what came, nothing at the end of the stream. Its result is
    /// returned.
    pub fn poll_read<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Poll<io::Result<T>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(match self {
                Self::Plain(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
                Self::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, &mut buffer),
                Self::Gone => Poll::Ready(Ok(())),
            })?;
            Poll::Ready(Ok(take(buffer.filled())))
        })
    }

    /// Writes all octets and sends them on their way.
    ///
    /// # Errors
    /// The connection's.
    pub async fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(octets).await,
            Self::Tls(stream) => {
                stream.write_all(octets).await?;
                stream.flush().await
            }
            Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Ends our side of the connection; under TLS with close_notify.
    ///
    /// # Errors
    /// The connection's.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shutdown().await,
            Self::Tls(stream) => stream.shutdown().await,
            Self::Gone => Ok(()),
        }
    }

    /// Makes the TLS handshake.
    ///
    /// # Errors
    /// When it fails; the connection is gone then.
    pub async fn accept_tls(&mut self, config: &Arc<rustls::ServerConfig>) -> io::Result<()> {
        let Self::Plain(stream) = std::mem::replace(self, Self::Gone) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let stream = TlsAcceptor::from(Arc::clone(config)).accept(stream).await?;
        *self = Self::Tls(Box::new(stream));
        Ok(())
    }

    /// What TLS has agreed on; none in clear.
    #[must_use]
    pub fn tls(&self) -> Option<&rustls::ServerConnection> {
        match self {
            Self::Tls(stream) => Some(stream.get_ref().1),
            Self::Plain(_) | Self::Gone => None,
        }
    }

    /// Our end of the connection.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Plain(stream) => stream.local_addr().ok(),
            Self::Tls(stream) => stream.get_ref().0.local_addr().ok(),
            Self::Gone => None,
        }
    }
}
