//! Against a server on a real socket.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use super::*;
use crate::agent::AgentTally;
use crate::media_plane::AgentLimits;
use crate::playout::DEFAULT_LIMIT;

const PATIENCE: Duration = Duration::from_secs(20);
const UUID: [u8; 16] = [0x0a; 16];

struct Call {
    agent: AudioSocket,
    playout: Playout,
    keys: dtmf::Sender,
    began: Instant,
    tally: Arc<AgentTally>,
}

impl Call {
    fn to(address: SocketAddr, rate: Rate, limits: AgentLimits) -> Self {
        let tally = Arc::<AgentTally>::default();
        let spec = AudioSocketSpec {
            tally: Arc::clone(&tally),
            addresses: vec![address],
            uuid: UUID,
            rate,
            connect_timeout: PATIENCE,
            limits,
        };
        Self {
            agent: AudioSocket::start(spec, Duration::ZERO),
            playout: Playout::new(DEFAULT_LIMIT),
            keys: dtmf::Sender::new(160),
            began: Instant::now(),
            tally,
        }
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        while !done(self) {
            assert!(self.began.elapsed() < PATIENCE, "{what}: not in time");
            let now = self.began.elapsed();
            self.agent.on_ready(&mut self.playout, now);
            self.agent.on_tick(&mut self.playout, &mut self.keys, now);
            std::thread::yield_now();
        }
    }

    fn event(&mut self) -> AgentEvent {
        let mut event = None;
        self.until("event", |call| {
            event = call.agent.poll_event();
            event.is_some()
        });
        event.unwrap()
    }
}

/// A server that takes one connection.
fn server<T: Send + 'static>(talk: impl FnOnce(TcpStream) -> T + Send + 'static) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (address, std::thread::spawn(move || talk(listener.accept().unwrap().0)))
}

/// The next message, kind and payload.
fn hear(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut header = [0; 3];
    stream.read_exact(&mut header).unwrap();
    let mut payload = vec![0; usize::from(u16::from_be_bytes([header[1], header[2]]))];
    stream.read_exact(&mut payload).unwrap();
    (header[0], payload)
}

#[test]
fn a_server_hears_who_calls_what_is_said_and_pressed_and_the_end() {
    for (rate, kind, samples) in [(Rate::Khz8, 0x10, 160), (Rate::Khz16, 0x12, 320)] {
        let (address, thread) = server(move |mut stream| {
            assert_eq!(hear(&mut stream), (0x01, UUID.to_vec()));
            let (of, payload) = hear(&mut stream);
            assert_eq!((of, payload.len()), (kind, 2 * samples));
            assert_eq!(hear(&mut stream), (0x03, vec![b'5']));
            // It answers with audio in two pieces, and a key.
            let mut answer = vec![kind, 0, 4, 0, 0x10, 0, 0x10];
            answer.extend([0x03, 0, 1, b'9']);
            stream.write_all(&answer[..5]).unwrap();
            stream.write_all(&answer[5..]).unwrap();
            assert_eq!(hear(&mut stream), (0x00, vec![]));
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        });
        let mut call = Call::to(address, rate, AgentLimits::default());
        assert_eq!(call.event(), AgentEvent::Ready);
        call.agent.on_audio(&[0x55; 160], &mut call.playout, Duration::ZERO);
        let press = Press {
            digit: '5',
            duration: KEY,
        };
        call.agent.on_digit(&press);
        call.until("audio and a key", |call| {
            call.playout.queued() > 0 && call.keys.is_active()
        });
        call.agent.stop(Duration::ZERO);
        call.until("end", |call| call.agent.is_done());
        thread.join().unwrap();
    }
}

#[test]
fn a_server_ends_the_call_by_saying_so_or_by_closing_and_fails_otherwise() {
    for (said, expected) in [
        (&[0x00, 0, 0][..], AgentEvent::Ended),
        (&[], AgentEvent::Ended),
        // In the middle of a message.
        (
            &[0x10, 0, 2, 1],
            AgentEvent::Failed(AgentFailure::Lost("closed in the middle of a message".into())),
        ),
        (
            &[0xff, 0, 1, 2],
            AgentEvent::Failed(AgentFailure::Lost("the agent tells of an error (code 2)".into())),
        ),
    ] {
        let (address, thread) = server(move |mut stream| {
            hear(&mut stream);
            stream.write_all(said).unwrap();
        });
        let mut call = Call::to(address, Rate::Khz8, AgentLimits::default());
        assert_eq!(call.event(), AgentEvent::Ready);
        assert_eq!(call.event(), expected, "{said:?}");
        thread.join().unwrap();
    }
}

#[test]
fn a_server_that_makes_no_sense_or_does_not_read_is_given_up() {
    let limits = AgentLimits {
        malformed: 1,
        write: 100_000,
        ..AgentLimits::default()
    };
    let (address, thread) = server(|mut stream| {
        hear(&mut stream);
        // What is merely not known does not count.
        stream.write_all(&[0x77, 0, 0, 0x03, 0, 0, 0x10, 0, 1, 9]).unwrap();
        stream
    });
    let mut call = Call::to(address, Rate::Khz8, limits);
    assert_eq!(call.event(), AgentEvent::Ready);
    assert_eq!(call.event(), AgentEvent::Failed(AgentFailure::Malformed(2)));
    assert_eq!((call.tally.malformed(), call.tally.oversized()), (2, 0));
    drop(thread.join().unwrap());

    let (address, thread) = server(|stream| stream);
    let mut call = Call::to(address, Rate::Khz8, limits);
    assert_eq!(call.event(), AgentEvent::Ready);
    call.until("stall", |call| {
        call.agent.on_audio(&[0; 16_000], &mut call.playout, Duration::ZERO);
        call.agent.phase == Phase::Over
    });
    assert_eq!(call.event(), AgentEvent::Failed(AgentFailure::Stalled(100_000)));
    drop(thread.join().unwrap());
}
