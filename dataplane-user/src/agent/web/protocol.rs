//! What one protocol over a WebSocket has to say, and what it makes of what it hears.
//!
//! A new protocol implements [`Protocol`], and is named where [`super::start`] is called. It does no I/O and knows no time:
//! what it says goes into a [`Socket`], which sends it when the tick is over; what a bot says goes where [`Said`] leads.

use std::time::Duration;

use super::socket::Socket;
use crate::dtmf::{self, Press};
use crate::media_plane::{AgentFailure, AgentNotice, TransferRequest};
use crate::playout::{Mark, Playout};

/// Keys that may wait to be pressed.
const KEY_LIMIT: usize = 100;

/// Whether a message could be queued.
///
/// # Errors
/// The other side has not read for so long that too much waits.
pub type Sent = Result<(), AgentFailure>;

/// Messages to and from a bot. The gateway is the WebSocket's client.
pub trait Protocol: Send + 'static {
    /// Subprotocols that are offered (RFC 6455 section 1.9), separated by commas.
    const SUBPROTOCOLS: Option<&'static str> = None;

    /// The WebSocket is open. What is said here is said first.
    fn start(&mut self, socket: &mut Socket) -> Sent;

    /// The caller was heard saying this: µ-law, in order, without gaps.
    fn audio(&mut self, ulaw: &[u8], socket: &mut Socket) -> Sent;

    /// The caller pressed a key.
    fn digit(&mut self, press: &Press, socket: &mut Socket) -> Sent;

    /// What the bot sent before this mark of [`Playout::mark`] has been played, or cleared.
    fn mark(&mut self, mark: &Mark, socket: &mut Socket) -> Sent;

    /// How far a transfer of the call has come.
    fn notice(&mut self, notice: &AgentNotice, socket: &mut Socket) -> Sent;

    /// The call is over. What is said here is said last; then the WebSocket is closed.
    fn stop(&mut self, socket: &mut Socket) -> Sent;

    /// The bot has sent a text.
    ///
    /// # Errors
    /// It is of no use.
    fn text(&mut self, text: &str, said: &mut Said<'_>) -> Result<(), Unusable>;

    /// The bot has sent a binary message.
    ///
    /// # Errors
    /// It is of no use.
    fn binary(&mut self, bytes: &[u8], said: &mut Said<'_>) -> Result<(), Unusable>;

    /// Once a packet time, after what the bot has said was heard and its marks were returned: what has to be answered, and
    /// what is to be said of the queue.
    fn tick(&mut self, _playout: &mut Playout, _socket: &mut Socket) -> Sent {
        Ok(())
    }
}

/// A message that is of no use. It is passed over, and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is not what the protocol says that messages look like.
    Malformed,
    /// It is well-formed, and nothing that this gateway knows.
    Unknown,
}

/// Where it goes what a bot says.
pub struct Said<'a> {
    /// What the caller is to hear.
    pub playout: &'a mut Playout,
    /// The keys that the caller is to hear.
    pub keys: &'a mut dtmf::Sender,
    /// What it wants of its call.
    pub wishes: &'a mut Wishes,
}

impl Said<'_> {
    /// Queues audio.
    pub fn play(&mut self, ulaw: &[u8]) {
        self.wishes.refused_bytes += self.playout.push(ulaw) as u64;
    }

    /// Presses keys, one after another, each held as long as `duration`.
    ///
    /// # Errors
    /// One of them is no key, or too many wait already: none is pressed.
    pub fn press(&mut self, digits: &str, duration: Duration) -> Result<(), Unusable> {
        if self.keys.waiting() + digits.len() > KEY_LIMIT || !digits.chars().all(dtmf::is_key) {
            return Err(Unusable::Malformed);
        }
        for digit in digits.chars() {
            self.keys.press(digit, duration).map_err(|_| Unusable::Malformed)?;
        }
        Ok(())
    }
}

/// What a bot wants of its call, until that is passed on.
#[derive(Debug, Default)]
pub struct Wishes {
    /// A transfer: one at a time is all there can be.
    pub transfer: Option<TransferRequest>,
    /// When that is asked for.
    pub transfer_when: When,
    /// It has failed, as it says itself.
    pub failure: Option<AgentFailure>,
    /// Whether it is to end.
    pub end: End,
    /// Audio beyond the queue's limit, bytes.
    pub refused_bytes: u64,
}

/// When something that a bot wants is to happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Now.
    #[default]
    Now,
    /// When all that is queued has been played.
    Played,
}

/// When a bot wants its call to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// It does not.
    #[default]
    Unasked,
    /// When all that is queued has been played.
    WhenPlayed,
    /// Now.
    Now,
}
