//! Stands between the store and PostgreSQL, understands the frames of the protocol, and cuts where it is told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

/// Where the next connection of a writer is cut. The server's side of it stays open: nobody tells the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// When the answer to this command has passed, but not the end of the transaction, which has committed.
    AfterCommit(&'static str),
    /// When the answer to this command has passed; the end of the command never got to the server.
    BeforeCommit(&'static str),
}

#[derive(Default)]
struct State {
    cut: Option<Cut>,
    /// The server's sides of what was cut.
    ghosts: Vec<UnixStream>,
    made: u32,
    /// With the next cut, everybody is cut off.
    isolate: bool,
}

pub(crate) struct Proxy {
    state: Arc<Mutex<State>>,
    /// No connection passes, and the old ones are closed, except that writers become ghosts.
    isolated: watch::Sender<bool>,
    port: u16,
}

impl Proxy {
    pub(crate) async fn start(server: &PgConnectOptions) -> Self {
        let socket = PathBuf::from(format!(
            "{}/.s.PGSQL.{}",
            server.get_socket().unwrap().display(),
            server.get_port()
        ));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let isolated = watch::Sender::new(false); // its clones share the value
        let (shared, isolation) = (state.clone(), isolated.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *isolation.borrow() {
                    continue;
                }
                let (state, isolation, socket) = (shared.clone(), isolation.clone(), socket.clone());
                tokio::spawn(async move {
                    if let Ok(server) = UnixStream::connect(&socket).await {
                        relay(client, server, &state, &isolation).await;
                    }
                });
            }
        });
        Self { state, isolated, port }
    }

    /// The same database, through the proxy.
    pub(crate) fn options(&self, server: &PgConnectOptions) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username(server.get_username())
            .database(server.get_database().unwrap())
            .ssl_mode(PgSslMode::Disable)
    }

    pub(crate) fn cut_next(&self, cut: Cut) {
        self.state.lock().cut = Some(cut);
    }

    /// Cuts, and cuts everybody off at the same moment.
    pub(crate) fn cut_next_and_isolate(&self, cut: Cut) {
        let mut state = self.state.lock();
        state.cut = Some(cut);
        state.isolate = true;
    }

    /// How many connections were cut.
    pub(crate) fn cuts(&self) -> u32 {
        self.state.lock().made
    }

    pub(crate) fn isolate(&self, isolated: bool) {
        self.isolated.send_replace(isolated);
    }
}

async fn relay(
    mut client: TcpStream,
    mut server: UnixStream,
    state: &Mutex<State>,
    isolation: &watch::Sender<bool>,
) {
    // The first packet has no type: its length, then names and values.
    let Ok(hello) = packet(&mut client, None).await else { return };
    let is_writer = hello.windows(16).any(|bytes| bytes == b"statecast-writer");
    if server.write_all(&hello).await.is_err() {
        return;
    }
    let mut isolated = isolation.subscribe();
    let ghost = {
        let (mut client_in, mut client_out) = client.split();
        let (mut server_in, mut server_out) = server.split();
        let up = upwards(&mut client_in, &mut server_out, state, is_writer);
        let down = downwards(&mut server_in, &mut client_out, state, is_writer);
        tokio::select! {
            () = up => false,
            cut = down => cut,
            _ = isolated.wait_for(|yes| *yes) => is_writer,
        }
    };
    if ghost {
        let mut state = state.lock();
        state.ghosts.push(server);
        state.made += 1;
        state.cut = None;
        if std::mem::take(&mut state.isolate) {
            isolation.send_replace(true);
        }
    }
    // Only now does the client lose its connection.
    drop(client);
}

/// From the client: everything, but no `Sync` when the transaction must not be committed: `Flush` instead.
async fn upwards<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    from: &mut R,
    to: &mut W,
    state: &Mutex<State>,
    is_writer: bool,
) {
    while let Ok(mut frame) = frame(from).await {
        let held = is_writer && matches!(state.lock().cut, Some(Cut::BeforeCommit(_)));
        if held && frame[0] == b'S' {
            frame[0] = b'H';
        }
        if to.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// From the server: everything up to the answer to the command that was named. True when it was cut there.
async fn downwards<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    from: &mut R,
    to: &mut W,
    state: &Mutex<State>,
    is_writer: bool,
) -> bool {
    while let Ok(received) = frame(from).await {
        if to.write_all(&received).await.is_err() {
            return false;
        }
        let cut = state.lock().cut;
        if let Some(Cut::AfterCommit(command) | Cut::BeforeCommit(command)) = cut
            && is_writer
            && received[0] == b'C'
            && received[5..].starts_with(command.as_bytes())
        {
            if matches!(cut, Some(Cut::AfterCommit(_))) {
                // What says that the transaction has ended arrives here, and goes no further.
                while frame(from).await.is_ok_and(|received| received[0] != b'Z') {}
            }
            // The client gets to read the rows before it loses the connection.
            let _ = to.flush().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            return true;
        }
    }
    false
}

async fn frame<R: AsyncRead + Unpin>(from: &mut R) -> std::io::Result<Vec<u8>> {
    let kind = from.read_u8().await?;
    packet(from, Some(kind)).await
}

async fn packet<R: AsyncRead + Unpin>(from: &mut R, kind: Option<u8>) -> std::io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut bytes: Vec<u8> = kind.into_iter().chain(length.to_be_bytes()).collect();
    let head = bytes.len();
    bytes.resize(head + length as usize - 4, 0);
    from.read_exact(&mut bytes[head..]).await?;
    Ok(bytes)
}
