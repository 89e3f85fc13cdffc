//! Reading and writing without keeping buffers: one read buffer a thread, so that an idle connection has none.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Most bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;
/// How long a client that is told why it must go may take to hear it.
const GOODBYE_DEADLINE: Duration = Duration::from_millis(500);

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Reads what is there, at most `bytes_max` and what fits the buffer of the thread, to the end of `input`.
///
/// # Errors
/// `WouldBlock` when there is nothing at present; 0 bytes are the end of the stream.
pub(super) fn read(stream: &TcpStream, input: &mut Vec<u8>, bytes_max: usize) -> io::Result<usize> {
    BUFFER.with_borrow_mut(|buffer| {
        let room = bytes_max.min(buffer.len());
        let len = stream.try_read(&mut buffer[..room])?;
        input.extend_from_slice(&buffer[..len]);
        Ok(len)
    })
}

/// Writes what the socket takes of `output`, and gives the buffer back when it is empty. True if there is more.
///
/// # Errors
/// When the connection is broken.
pub(super) fn write(stream: &TcpStream, output: &mut Vec<u8>) -> io::Result<bool> {
    let mut written = 0;
    while written < output.len() {
        match stream.try_write(&output[written..]) {
            Ok(len) => written += len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    if written == output.len() {
        *output = Vec::new();
    } else {
        output.drain(..written);
    }
    Ok(!output.is_empty())
}

/// Writes the last words and lets the client hear them: a socket that is closed with unread input would be
/// reset, and the words lost with it.
pub(super) async fn say_goodbye(stream: &mut TcpStream, mut last_words: Vec<u8>) {
    if last_words.is_empty() {
        return;
    }
    let said = async {
        while write(stream, &mut last_words)? {
            stream.writable().await?;
        }
        stream.shutdown().await?;
        let mut discarded = Vec::new();
        loop {
            stream.readable().await?;
            discarded.clear();
            match read(stream, &mut discarded, READ_BYTES) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    };
    // Whether it heard them makes no difference.
    let _: Result<io::Result<()>, _> = tokio::time::timeout(GOODBYE_DEADLINE, said).await;
}
