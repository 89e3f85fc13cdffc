//! The byte stream of a connection: TCP as it is, or any other stream behind the same face. Keeps no buffers: there
//! is one read buffer a thread, so that an idle connection has none.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Most bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;
/// How long a client that is told why it must go may take to hear it.
const GOODBYE_DEADLINE: Duration = Duration::from_millis(500);

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Bytes both ways.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// The byte stream of a connection. Plain TCP pays nothing for the others.
pub(crate) enum Wire {
    /// Plain TCP.
    Tcp(TcpStream),
    /// Anything else: TLS, WebSocket, a stream that somebody else accepted.
    Pipe {
        /// The stream.
        stream: Box<dyn Duplex>,
        /// It has taken bytes that may not have left yet.
        unflushed: bool,
    },
}

/// What happened on a wire.
pub(crate) enum Moved {
    /// So many bytes came; 0 are the end of the stream.
    Read(usize),
    /// Some of the output left, or can leave now.
    Written,
}

impl Wire {
    /// Makes a stream of any kind a wire.
    pub(crate) fn pipe(stream: impl Duplex + 'static) -> Self {
        Self::Pipe { stream: Box::new(stream), unflushed: false }
    }

    /// Waits for bytes, and puts them to the end of `input`: at most `bytes_max` and what fits the buffer of the
    /// thread. 0 bytes are the end of the stream. Nothing is lost if the wait is given up.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(crate) async fn read(&mut self, input: &mut Vec<u8>, bytes_max: usize) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, input, bytes_max)).await
    }

    /// Writes what the stream takes of `output` now, and gives the buffer back when it is empty. True if there is
    /// more, which [`Wire::exchange`] has to wait for.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(crate) fn write(&mut self, output: &mut Vec<u8>) -> io::Result<bool> {
        match self {
            Self::Tcp(stream) => {
                let mut written = 0;
                while written < output.len() {
                    match stream.try_write(&output[written..]) {
                        Ok(len) => written += len,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error),
                    }
                }
                remove(output, written);
                Ok(!output.is_empty())
            }
            Self::Pipe { .. } => {
                // Nobody is woken by this one: who waits asks again, with a waker of its own.
                match self.poll_write(&mut Context::from_waker(Waker::noop()), output) {
                    Poll::Ready(written) => written.map(|()| false),
                    Poll::Pending => Ok(true),
                }
            }
        }
    }

    /// Was something written that may not have left yet?
    pub(crate) fn unflushed(&self) -> bool {
        matches!(self, Self::Pipe { unflushed: true, .. })
    }

    /// Gives up what was written and has not left: the other side is gone.
    pub(crate) fn forget(&mut self) {
        if let Self::Pipe { unflushed, .. } = self {
            *unflushed = false;
        }
    }

    /// Waits until bytes came, if they are wanted, or until some of the output left. Nothing is lost if the wait is
    /// given up.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(crate) async fn exchange(
        &mut self,
        mut input: Option<(&mut Vec<u8>, usize)>,
        output: &mut Vec<u8>,
    ) -> io::Result<Moved> {
        poll_fn(|cx| {
            if let Some((input, bytes_max)) = &mut input
                && let Poll::Ready(read) = self.poll_read(cx, input, *bytes_max)
            {
                return Poll::Ready(read.map(Moved::Read));
            }
            let waiting = output.len();
            if waiting == 0 && !self.unflushed() {
                return Poll::Pending;
            }
            let written = match self {
                Self::Tcp(stream) => stream.poll_write_ready(cx),
                Self::Pipe { .. } => self.poll_write(cx, output),
            };
            match written {
                Poll::Pending if output.len() < waiting => Poll::Ready(Ok(Moved::Written)),
                written => written.map_ok(|()| Moved::Written),
            }
        })
        .await
    }

    /// Writes the rest of the last words and lets the client hear them all: a socket that is closed with unread input
    /// would be reset, and the words lost with it. Who wasn't `told` anything needn't hear it.
    pub(crate) async fn say_goodbye(&mut self, mut last_words: Vec<u8>, told: bool) {
        // Other streams than TCP have an end of their own to send, e.g. that of TLS.
        if !told && matches!(self, Self::Tcp(_)) {
            return;
        }
        let said = async {
            poll_fn(|cx| self.poll_write(cx, &mut last_words)).await?;
            poll_fn(|cx| self.writer().poll_shutdown(cx)).await?;
            let mut discarded = Vec::new();
            while self.read(&mut discarded, READ_BYTES).await? > 0 {
                discarded.clear();
            }
            Ok(())
        };
        // Whether it heard them makes no difference.
        let _: Result<io::Result<()>, _> = tokio::time::timeout(GOODBYE_DEADLINE, said).await;
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Poll<io::Result<usize>> {
        BUFFER.with_borrow_mut(|buffer| {
            let room = bytes_max.min(buffer.len());
            let mut buffer = ReadBuf::new(&mut buffer[..room]);
            let read = match self {
                Self::Tcp(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
                Self::Pipe { stream, .. } => Pin::new(stream).poll_read(cx, &mut buffer),
            };
            match ready!(read) {
                Ok(()) => {}
                // Many close a TLS connection without saying so; MQTT has its own goodbye.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            input.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    /// Ready when all has left.
    fn poll_write(&mut self, cx: &mut Context<'_>, output: &mut Vec<u8>) -> Poll<io::Result<()>> {
        let mut written = 0;
        while written < output.len() {
            match self.writer().poll_write(cx, &output[written..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(len)) => written += len,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        remove(output, written);
        if let Self::Pipe { stream, unflushed } = self {
            *unflushed |= written > 0;
            if *unflushed {
                ready!(Pin::new(stream).poll_flush(cx))?;
                *unflushed = false;
            }
        }
        if output.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        match self {
            Self::Tcp(stream) => Pin::new(stream),
            Self::Pipe { stream, .. } => Pin::new(stream),
        }
    }
}

/// Removes what was written, and the buffer with the last of it.
fn remove(output: &mut Vec<u8>, written: usize) {
    if written == output.len() {
        *output = Vec::new();
    } else {
        output.drain(..written);
    }
}
