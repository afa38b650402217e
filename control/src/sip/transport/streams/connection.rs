//! One connection from its first byte to its last.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::{Shared, StreamEvent};
use crate::sip::path::Path;
use crate::sip::syntax::stream::{Broken, Piece, Stream};
use crate::sip::transport::counts::Closed;

/// Most bytes that wait to be sent: some 700 messages.
const MOST_WAITING: usize = 1 << 20;
/// What waiting costs beside the bytes, so that many short ones are bounded, too.
const OVERHEAD: usize = 128;
/// How long the other side may read nothing of what we send, or leave a message unfinished.
const STALL: Duration = Duration::from_secs(10);
/// How long a keep-alive is waited for.
const PONG: Duration = Duration::from_secs(10);
/// Bytes read at a time.
const READ: usize = 8 << 10;

/// What the writer is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Send this.
    Send(Vec<u8>),
    /// Nothing more comes, for this reason.
    Finish(Closed),
}

/// Where the writer takes from.
pub(super) type Inbox = mpsc::UnboundedReceiver<Order>;

/// The near end of a connection: what is put in is sent. What waits is bounded by its bytes.
#[derive(Clone, Debug)]
pub(super) struct Line {
    orders: mpsc::UnboundedSender<Order>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// Bytes that wait.
    waiting: AtomicUsize,
    /// More was to wait than may: the connection ends.
    overflowed: Notify,
    /// When a message last went either way, or the other side asked whether we are there.
    active: Mutex<Instant>,
    /// A keep-alive of ours has no answer yet.
    asked: AtomicBool,
    /// The other side has answered one: it knows how.
    answers: AtomicBool,
    answered: Notify,
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// It was one.
    Closed(Closed),
    /// It never was one: why TLS was not agreed on.
    Handshake(String),
}

/// A new line and what comes out of it.
pub(super) fn line() -> (Line, Inbox) {
    let (orders, inbox) = mpsc::unbounded_channel();
    let state = State {
        waiting: AtomicUsize::new(0),
        overflowed: Notify::new(),
        active: Mutex::new(Instant::now()),
        asked: AtomicBool::new(false),
        answers: AtomicBool::new(false),
        answered: Notify::new(),
    };
    let line = Line {
        orders,
        state: Arc::new(state),
    };
    (line, inbox)
}

impl Line {
    /// Sends this, or ends the connection if too much waits already.
    pub fn send(&self, data: Vec<u8>) {
        let cost = data.len() + OVERHEAD;
        let waiting = self.state.waiting.fetch_add(cost, Ordering::Relaxed);
        if waiting + cost > MOST_WAITING {
            return self.state.overflowed.notify_one();
        }
        // A connection that has just ended takes nothing: the core hears that it is lost.
        let _ = self.orders.send(Order::Send(data));
    }

    /// Ends the connection once everything is sent.
    pub fn finish(&self, why: Closed) {
        let _ = self.orders.send(Order::Finish(why));
    }

    fn is_active(&self) {
        *self.state.active.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn active(&self) -> Instant {
        *self.state.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries messages both ways until it ends. `keepalive` is how often we ask whether the other side is there.
pub(super) async fn run(
    shared: &Shared,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    path: Path,
    line: Line,
    inbox: Inbox,
    keepalive: Option<Duration>,
) -> Ended {
    let (reader, writer) = tokio::io::split(stream);
    line.is_active();
    let why = tokio::select! {
        why = read(shared, reader, path, &line) => why,
        why = write(writer, inbox, &line) => why,
        () = line.state.overflowed.notified() => Closed::NotRead,
        () = keep_alive(&line, keepalive) => Closed::NoPong,
    };
    Ended::Closed(why)
}

async fn read(shared: &Shared, mut reader: impl AsyncRead + Unpin, path: Path, line: &Line) -> Closed {
    let mut stream = Stream::default();
    let mut buffer = vec![0; READ];
    // When the message that is arriving must be there.
    let mut due: Option<Instant> = None;
    loop {
        let until = due.unwrap_or_else(|| line.active() + shared.settings.idle);
        let read = match timeout_at(until, reader.read(&mut buffer)).await {
            Ok(Ok(0)) => return Closed::Theirs,
            Ok(Ok(read)) => read,
            Ok(Err(_)) => return Closed::Failed,
            Err(_) if due.is_some() => return Closed::Slow,
            Err(_) if line.active() + shared.settings.idle <= Instant::now() => return Closed::Idle,
            Err(_) => continue,
        };
        stream.push(buffer.get(..read).unwrap_or_default());
        loop {
            match stream.piece() {
                Ok(Some(Piece::Message(data))) => {
                    due = None;
                    line.is_active();
                    shared.tell(StreamEvent::Message { path, data }).await;
                }
                Ok(Some(Piece::Ping)) => {
                    line.is_active();
                    line.send(b"\r\n".to_vec());
                }
                Ok(Some(Piece::Pong)) => {
                    if line.state.asked.swap(false, Ordering::Relaxed) {
                        line.state.answers.store(true, Ordering::Relaxed);
                        line.state.answered.notify_one();
                    }
                }
                Ok(None) => break,
                Err(broken) => return give_up(shared, path, broken).await,
            }
        }
        due = match (stream.is_within_message(), due) {
            (true, None) => Some(Instant::now() + STALL),
            (true, due) => due,
            (false, _) => None,
        };
    }
}

/// Hands on what cannot be read, and leaves it to the writer to end the connection after the answer.
async fn give_up(shared: &Shared, path: Path, broken: Broken) -> Closed {
    let Broken { head, status, reason } = broken;
    let damaged = StreamEvent::Damaged {
        path,
        head,
        status,
        reason,
    };
    shared.tell(damaged).await;
    sleep(STALL).await;
    Closed::Malformed
}

async fn write(mut writer: impl AsyncWrite + Unpin, mut inbox: Inbox, line: &Line) -> Closed {
    while let Some(order) = inbox.recv().await {
        let data = match order {
            Order::Send(data) => data,
            Order::Finish(why) => {
                // Whether the other side has read it all is its own affair.
                let _ = timeout(STALL, writer.shutdown()).await;
                return why;
            }
        };
        let written = timeout(STALL, async {
            writer.write_all(&data).await?;
            writer.flush().await
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Closed::Failed,
            Err(_) => return Closed::NotRead,
        }
        line.state.waiting.fetch_sub(data.len() + OVERHEAD, Ordering::Relaxed);
        // An answer to a keep-alive is no use of the connection of our own.
        if data.len() > 4 {
            line.is_active();
        }
    }
    Closed::Ours
}

/// Asks now and then whether the other side is there (RFC 5626 section 3.5.1). Ends when one that has answered before does
/// not; who never has does not know the question.
async fn keep_alive(line: &Line, every: Option<Duration>) {
    let Some(every) = every else {
        return std::future::pending().await;
    };
    loop {
        sleep_until(Instant::now() + every).await;
        line.state.asked.store(true, Ordering::Relaxed);
        line.send(b"\r\n\r\n".to_vec());
        let answered = timeout(PONG, line.state.answered.notified()).await.is_ok();
        if !answered && line.state.answers.load(Ordering::Relaxed) {
            return;
        }
    }
}
