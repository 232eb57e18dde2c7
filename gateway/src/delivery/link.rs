//! One connection to a backend: a socket, TLS perhaps, and the conversation on it.

use super::failure::Failure;
use super::message::{Progress, Segments};
use super::outcome::Tls;
use futures::task::noop_waker_ref;
use postern_smtp::client::{Broken, Conversation, Reply, Reuse, Stage, Stuffed};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::client::TlsStream;

/// Octets that are read at once.
const READ: usize = 4096;
/// Pieces of a message that are written at once.
const PIECES: usize = 64;
/// A QUIT that cannot be written in this time is not said.
const QUIT: Duration = Duration::from_secs(1);
/// After a write failed, a backend's last words are waited for so long.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The transport.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection that is ready for MAIL, with its history.
pub(super) struct Link {
    pub(super) stream: Stream,
    pub(super) conversation: Conversation,
    pub(super) peer: SocketAddr,
    pub(super) host: Option<Arc<str>>,
    pub(super) tls: Option<Tls>,
    pub(super) opened: Instant,
    /// Transactions that ran on it.
    pub(super) uses: u32,
    /// Recipients that were refused on it.
    pub(super) refusals: u32,
}

/// How the writing of a message ended without its final dot.
#[derive(Debug)]
pub(super) enum Unfinished {
    /// The backend refused it while it was being written.
    Refused(Reply),
    /// Something else.
    Failed(Failure),
}

/// A message's pieces with one in hand, to know the last one. (`Peekable` holds an associated
/// type, with which the future of a delivery would not be known to be `Send`.)
struct Pieces<'m> {
    stuffed: Stuffed<'m, Segments<'m>>,
    next: Option<&'m [u8]>,
}

impl<'m> Pieces<'m> {
    fn new(segments: Segments<'m>) -> Self {
        let mut stuffed = Stuffed::new(segments);
        let next = stuffed.next();
        Self { stuffed, next }
    }

    fn fill(&mut self, batch: &mut Vec<IoSlice<'m>>) {
        while batch.len() < PIECES
            && let Some(piece) = self.next
        {
            batch.push(IoSlice::new(piece));
            self.next = self.stuffed.next();
        }
    }
}

impl Stream {
    /// Writes what the conversation has to say.
    pub(super) async fn flush(&mut self, conversation: &mut Conversation) -> io::Result<()> {
        if !conversation.output().is_empty() {
            self.write_all(conversation.output()).await?;
            conversation.written();
        }
        AsyncWriteExt::flush(self).await
    }

    /// Reads what is there, at least one octet.
    pub(super) async fn read_into(&mut self, conversation: &mut Conversation) -> io::Result<()> {
        poll_fn(|cx| self.poll_read_into(cx, conversation)).await
    }

    fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        conversation: &mut Conversation,
    ) -> Poll<io::Result<()>> {
        let mut octets = [0; READ];
        let mut buffer = ReadBuf::new(&mut octets);
        std::task::ready!(Pin::new(self).poll_read(cx, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        conversation.receive(buffer.filled());
        Poll::Ready(Ok(()))
    }
}

impl Link {
    /// Writes what is to be written, then reads until `step` has an answer.
    pub(super) async fn drive<T>(
        &mut self,
        stage: Stage,
        deadline: Instant,
        mut step: impl FnMut(&mut Conversation) -> Result<Option<T>, Broken>,
    ) -> Result<T, Failure> {
        let exchange = async {
            loop {
                if let Some(answer) = step(&mut self.conversation).map_err(Failure::Broken)? {
                    return Ok(answer);
                }
                let lost = |_| Failure::Lost(stage);
                self.stream
                    .flush(&mut self.conversation)
                    .await
                    .map_err(lost)?;
                self.stream
                    .read_into(&mut self.conversation)
                    .await
                    .map_err(lost)?;
            }
        };
        timeout_at(deadline, exchange)
            .await
            .unwrap_or(Err(Failure::Timeout(stage)))
    }

    /// Writes the message and its final dot. `progress` is told before the dot goes out: from then
    /// on the backend may have the message, whatever happens here.
    pub(super) async fn write_message(
        &mut self,
        segments: Segments<'_>,
        deadline: Instant,
        progress: &Progress,
    ) -> Result<(), Unfinished> {
        let writing = self.write_pieces(Pieces::new(segments), progress);
        match timeout_at(deadline, writing).await {
            Ok(done) => done,
            Err(_) => Err(Unfinished::Failed(Failure::Timeout(Stage::Message))),
        }
    }

    async fn write_pieces<'m>(
        &mut self,
        mut pieces: Pieces<'m>,
        progress: &Progress,
    ) -> Result<(), Unfinished> {
        let mut batch = Vec::with_capacity(PIECES);
        // Octets that came before the message did cannot answer it.
        self.heard()?;
        loop {
            batch.clear();
            pieces.fill(&mut batch);
            if pieces.next.is_none() {
                progress.set_dot_written();
                self.write_batch(&mut batch).await?;
                let flushed = AsyncWriteExt::flush(&mut self.stream).await;
                return flushed.map_err(|_| lost());
            }
            self.write_batch(&mut batch).await?;
        }
    }

    async fn write_batch(&mut self, batch: &mut [IoSlice<'_>]) -> Result<(), Unfinished> {
        let mut left: &mut [IoSlice<'_>] = batch;
        while !left.is_empty() {
            match self.write_or_hear(left).await {
                Ok(Some(written)) => IoSlice::advance_slices(&mut left, written),
                Ok(None) => self.heard()?,
                Err(_) => return Err(self.last_words().await),
            }
        }
        Ok(())
    }

    /// Octets written, or none: the backend said something while it took nothing.
    async fn write_or_hear(&mut self, slices: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        poll_fn(|cx| {
            match Pin::new(&mut self.stream).poll_write_vectored(cx, slices) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => return Poll::Ready(written.map(Some)),
                Poll::Pending => {}
            }
            self.stream
                .poll_read_into(cx, &mut self.conversation)
                .map_ok(|()| None)
        })
        .await
    }

    /// Looks at what the backend said before the final dot.
    fn heard(&mut self) -> Result<(), Unfinished> {
        match self.conversation.early() {
            Ok(None) => Ok(()),
            Ok(Some(refusal)) => Err(Unfinished::Refused(refusal)),
            Err(broken) => Err(Unfinished::Failed(Failure::Broken(broken))),
        }
    }

    /// The backend closed while a message was being written: perhaps it said why.
    async fn last_words(&mut self) -> Unfinished {
        let reading = self.stream.read_into(&mut self.conversation);
        if let Ok(Ok(())) = timeout(LAST_WORDS, reading).await
            && let Err(refused) = self.heard()
        {
            return refused;
        }
        lost()
    }

    /// Whether the backend has closed, or said something unasked, since the last transaction.
    pub(super) fn is_dead(&mut self) -> bool {
        let mut cx = Context::from_waker(noop_waker_ref());
        self.conversation.reuse() == Reuse::Never
            || self
                .stream
                .poll_read_into(&mut cx, &mut self.conversation)
                .is_ready()
    }

    /// Says QUIT and closes, without waiting for the answer.
    pub(super) async fn quit(mut self) {
        let goodbye = async {
            self.stream.write_all(b"QUIT\r\n").await?;
            self.stream.shutdown().await
        };
        // The connection is given up either way.
        let _ = timeout(QUIT, goodbye).await;
    }
}

fn lost() -> Unfinished {
    Unfinished::Failed(Failure::Lost(Stage::Message))
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, octets),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, octets),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
